// One link: what it is, what happened to it, and its changes.

import { call, get, path, refusal, send } from "./api.js";
import { pages } from "./collection.js";
import { again, asked, button, copyButton, h, time } from "./dom.js";
import { linkForm } from "./linkform.js";
import { live } from "./live.js";
import { statistics } from "./statistics.js";

export async function view(query, signal, user) {
  const slug = query.get("slug") ?? "";
  const domain = query.get("domain") ?? "";
  const link = await get(["links", slug], { domain }, signal);
  const facts = h("div", {}, factsOf(link));
  const mayChange = user?.role !== "viewer";
  return [
    h("h1", {}, h("a", { href: link.short_url, rel: "noreferrer" }, link.short_url), " ", copyButton(link.short_url)),
    facts,
    mayChange ? [actions(link), editor(link)] : null,
    code(link, signal),
    h("h2", {}, "Statistics"),
    await statistics(["links", slug, "stats"], { domain }, signal),
    h("h2", {}, "Live"),
    live({ slug, domain }, signal),
    history(slug, domain),
  ];
}

function factsOf(link) {
  const rows = [
    ["Target", h("a", { href: link.target, rel: "noreferrer" }, link.target)],
    ["State", link.state],
    ["Page", link.broken ? h("span", { class: "bad" }, "gone since ", time(link.broken.since), ": ",
      link.broken.reason) : ""],
    ["Title", link.title],
    ["Tags", link.tags.length ? link.tags.map((tag) => h("span", { class: "tag" }, tag)) : ""],
    ["Made", time(link.created_at)],
    ["Begins", time(link.starts_at)],
    ["Ends", time(link.expires_at)],
    ["Visits", link.max_visits === null ? "" : `${link.visits} of ${link.max_visits}`],
    ["Password", link.password ? "is asked for" : ""],
    ["Rules", link.rules.length ? String(link.rules.length) : ""],
    ["Variants", link.variants.length ? String(link.variants.length) : ""],
    ["Notes", link.notes && h("span", { class: "lines" }, link.notes)],
  ];
  return h("dl", { class: "facts" }, rows.filter(([, text]) => text !== "").map(([name, text]) =>
    [h("dt", {}, name), h("dd", {}, text)]));
}

function actions(link) {
  const change = (state) => async () => {
    await patch(link, { state });
    again();
  };
  const remove = asked(`Delete ${link.short_url}? It can be restored for a while.`, async () => {
    await call("DELETE", whereOf(link), { headers: atVersion(link) });
    location.hash = "#/links";
  });
  return h("p", { class: "tools" },
    link.state === "active" ? button("Disable", change("disabled")) : button("Enable", change("active")),
    button("Delete", remove, { class: "danger" }));
}

function editor(link) {
  const place = h("div");
  const details = h("details", {
    toggle: async () => {
      if (details.open && place.childElementCount === 0) {
        place.append(await linkForm(link, async (body) => {
          await patch(link, body);
          again();
        }, "Save"));
      }
    },
  }, h("summary", {}, "Change"), place);
  return details;
}

/** The short URL to scan; the drawing is asked for as whoever is signed in, so the browser cannot ask for it itself. */
function code(link, signal) {
  const place = h("div");
  const details = h("details", {
    toggle: async () => {
      if (details.open && place.childElementCount === 0) {
        place.append(await drawing(link, signal).catch((error) =>
          h("p", { class: "bad", role: "alert" }, error.message)));
      }
    },
  }, h("summary", {}, "QR code"), place);
  return details;
}

async function drawing(link, signal) {
  const answer = await send("GET", path(["links", link.slug, "qr"], { domain: link.domain }), { signal });
  if (!answer.ok) {
    throw await refusal(answer);
  }
  const url = URL.createObjectURL(await answer.blob());
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  return h("p", {}, h("img", { src: url, alt: `QR code of ${link.short_url}`, width: 200, height: 200 }), h("br"),
    h("a", { href: url, download: `${link.slug}.svg` }, "Save as SVG"));
}

function history(slug, domain) {
  const place = h("div");
  const details = h("details", {
    toggle: async () => {
      if (details.open) {
        const load = (cursor) => get(["links", slug, "history"], { domain, cursor });
        place.replaceChildren(...await pages(["When", "Who", "What", "Fields"], load, entryCells).catch((error) =>
          [h("p", { class: "bad", role: "alert" }, error.message)]));
      }
    },
  }, h("summary", {}, "History"), place);
  return details;
}

function entryCells(entry) {
  return [
    time(entry.time), `${entry.who.kind} ${entry.who.id ?? ""}`.slice(0, 24), entry.what,
    h("code", {}, Object.entries(entry.fields).map(([name, change]) => `${name}: ${told(change)}`).join("; ")),
  ];
}

function told({ old, new: now }) {
  const text = (value) => (value === undefined ? "" : JSON.stringify(value));
  return old === undefined || old === null ? text(now) : `${text(old)} → ${text(now)}`;
}

const whereOf = (link) => path(["links", link.slug], { domain: link.domain });
const atVersion = (link) => ({ "If-Match": `"${link.version}"` });
const patch = (link, body) => call("PATCH", whereOf(link), { body, headers: atVersion(link) });
