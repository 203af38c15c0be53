// All links together: statistics, and visits as they come.

import { h } from "./dom.js";
import { live } from "./live.js";
import { statistics } from "./statistics.js";

export async function view(query, signal) {
  return [h("h1", {}, "All links"), await statistics(["stats"], {}, signal), h("h2", {}, "Live"), live({}, signal)];
}
