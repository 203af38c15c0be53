// Statistics of a link or of all of them: numbers, columns over time, shares.

import { get } from "./api.js";
import { bars, columns } from "./charts.js";
import { count, h, moment } from "./dom.js";

const DAY_MS = 86_400_000;
/** What it is called, its unit, and its length in days. */
const RANGES = [["24 hours", "hour", 1], ["7 days", "hour", 7], ["30 days", "day", 30], ["12 weeks", "week", 84],
  ["12 months", "month", 365]];
const SHARES = [["Referrers", "referrers"], ["Countries", "countries"], ["Devices", "devices"], ["Systems", "os"],
  ["Browsers", "browsers"], ["Languages", "languages"], ["Variants", "variants"], ["Bots", "bot_names"]];
const FIGURES = [["Clicks", (of) => of.clicks], ["Visitors", (of) => of.visitors], ["Bots", (of) => of.bots],
  ["Not led on", (of) => of.misses], ["Unknown slugs", (of) => of.orphans?.visits]];

/** A chooser of the range, and what was counted in it. */
export async function statistics(words, query, signal) {
  const shown = h("div");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const draw = async ([, unit, days]) => {
    const from = new Date(Date.now() - days * DAY_MS).toISOString().replace(/\.\d+/, "");
    const stats = await get(words, { ...query, unit, tz: zone, from }, signal);
    return [figures(stats), columns(stats.series, unit), shares(stats), reach(stats)];
  };
  let wanted;
  const load = async (range) => {
    wanted = range;
    const drawn = await draw(range).catch((error) => [h("p", { class: "bad", role: "alert" }, error.message)]);
    if (wanted === range) { // else another one was chosen meanwhile, whose answer may have been faster
      shown.replaceChildren(...drawn);
    }
  };
  const choose = h("select", { "aria-label": "Range", change: () => load(RANGES[choose.selectedIndex]) },
    RANGES.map(([text], place) => h("option", { selected: place === 2 }, text)));
  await load(RANGES[2]);
  return h("div", {}, h("p", { class: "tools" }, h("label", {}, choose)), shown);
}

function figures(stats) {
  const rows = FIGURES.map(([title, read]) => [title, read(stats)]).filter(([, value]) => value !== undefined);
  return h("dl", { class: "figures" }, rows.map(([title, value]) =>
    h("div", {}, h("dt", {}, title), h("dd", {}, count(value)))));
}

function shares(stats) {
  const drawn = SHARES.map(([title, name]) => bars(title, stats[name] ?? []));
  return h("div", { class: "shares" }, drawn, bars("Unknown slugs", stats.orphans?.slugs ?? []));
}

function reach(stats) {
  return h("p", { class: "pale" }, h("small", {},
    `Counted up to ${moment(stats.as_of)}. Shares and visitors are of whole days (UTC), ${stats.breakdown_from} to ` +
    `${stats.breakdown_to}.`));
}
