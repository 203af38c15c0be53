// Columns over time, and bars of shares.

import { count, h, s } from "./dom.js";

const WIDTH = 900;
const HEIGHT = 220;
const LEFT = 56;
const BOTTOM = 24;
const LABELS = 8;
const EDGE = 40; // so near to it a label would be cut

/** Columns of a series of {t, clicks}; each tells its moment and number when it is pointed at. */
export function columns(series, unit) {
  const most = Math.max(1, ...series.map((point) => point.clicks));
  const top = niceAbove(most);
  const step = (WIDTH - LEFT) / Math.max(1, series.length);
  const y = (clicks) => (HEIGHT - BOTTOM) * (1 - clicks / top);
  const lines = [0, top / 2, top].filter(Number.isInteger).map((value) => [
    s("line", { x1: LEFT, x2: WIDTH, y1: y(value) + 0.5, y2: y(value) + 0.5, class: "grid" }),
    s("text", { x: LEFT - 8, y: Math.max(10, y(value) + 4), class: "left" }, count(value)),
  ]);
  const every = Math.ceil(series.length / LABELS);
  const marks = series.map((point, place) => [
    s("rect", {
      x: LEFT + place * step + step * 0.1,
      width: Math.max(0.5, step * 0.8),
      y: y(point.clicks),
      height: HEIGHT - BOTTOM - y(point.clicks),
    }),
    s("rect", { x: LEFT + place * step, width: step, y: 0, height: HEIGHT - BOTTOM, class: "touch" },
      s("title", {}, `${label(point.t, unit)}: ${count(point.clicks)}`)),
    place % every === 0 && LEFT + place * step < WIDTH - EDGE
      ? s("text", { x: LEFT + place * step + step / 2, y: HEIGHT - 6, class: "under" }, label(point.t, unit))
      : null,
  ]);
  const total = series.reduce((sum, point) => sum + point.clicks, 0);
  const words = `Clicks by ${unit}: ${count(total)} in all, at most ${count(most)}`;
  const frame = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "columns", role: "img", "aria-label": words };
  return h("div", { class: "scroll newest" }, s("svg", frame, lines, marks));
}

/** A breakdown: the first keys with their shares. */
export function bars(title, rows, most = 8) {
  if (rows.length === 0) {
    return null;
  }
  const total = rows.reduce((sum, row) => sum + row.clicks, 0);
  const shown = rows.slice(0, most);
  const rest = total - shown.reduce((sum, row) => sum + row.clicks, 0);
  const all = rest > 0 ? [...shown, { key: "others", clicks: rest }] : shown;
  return h("section", { class: "bars" }, h("h3", {}, title), h("table", {}, h("tbody", {}, all.map((row) => {
    const share = row.clicks / Math.max(1, total);
    return h("tr", {},
      h("td", {}, row.key, s("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
        s("rect", { width: 100 * share, height: 4 }))),
      h("td", { class: "number" }, count(row.clicks)),
      h("td", { class: "number" }, `${Math.round(share * 100)} %`));
  }))));
}

function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((factor) => factor * power).find((nice) => nice >= value);
}

/** The API gives moments in the time zone that was asked for: what stands there is what its clock says. */
function label(text, unit) {
  const [day, time] = text.split("T");
  if (unit === "month") {
    return day.slice(0, 7);
  }
  return unit === "minute" || unit === "hour" ? `${day.slice(5)} ${time.slice(0, 5)}` : day;
}
