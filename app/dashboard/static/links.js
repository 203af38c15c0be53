// The list of links, and making one.

import { call, get, idempotencyKeys, path, post } from "./api.js";
import { pages } from "./collection.js";
import { button, copyButton, count, h, time } from "./dom.js";
import { addressOf, linkForm } from "./linkform.js";

const SORTS = [["", "newest"], ["created", "oldest"], ["-clicks", "most clicks"], ["clicks", "fewest clicks"],
  ["expires", "expiring first"]];
const STATES = [["", "any state"], ["active", "active"], ["disabled", "disabled"], ["banned", "banned"],
  ["deleted", "deleted"]];
const PAGES = [["", "any page"], ["true", "page gone"]];
const PAGE = 50;

export async function view(query, signal, user) {
  const wanted = Object.fromEntries(["q", "tag", "domain", "state", "broken", "sort"].map((name) =>
    [name, query.get(name) ?? ""]));
  const listed = h("div", {}, await listing(wanted, signal).catch((error) => // some filters do not go together
    h("p", { class: "bad", role: "alert" }, error.message)));
  const made = user?.role === "viewer" ? null : await maker(listed, wanted, signal);
  return [h("h1", {}, "Links"), made, tools(wanted), listed];
}

async function maker(listed, wanted, signal) {
  const made = h("div");
  let keyOf = idempotencyKeys();
  const drawn = await linkForm(null, async (body, reset) => {
    const link = await post(["links"], body, { "Idempotency-Key": keyOf(body) });
    keyOf = idempotencyKeys(); // the same once more is another link
    reset();
    made.replaceChildren(h("p", { role: "status" },
      h("a", { href: addressOf(link) }, link.short_url), " ", copyButton(link.short_url)));
    listed.replaceChildren(...await listing(wanted, signal));
  }, "Shorten");
  return h("section", { class: "box" }, drawn, made);
}

function tools(wanted) {
  const find = (event) => event.target.form.requestSubmit();
  const select = (name, options) => h("select", { name, "aria-label": name, change: find },
    options.map(([word, text]) => h("option", { value: word, selected: word === wanted[name] }, text)));
  return h("form", {
    class: "tools",
    role: "search",
    submit: (event) => {
      event.preventDefault();
      const given = [...new FormData(event.target)].filter(([, value]) => value !== "");
      location.hash = `#/links?${new URLSearchParams(given)}`;
    },
  },
  h("label", { class: "wide" }, h("input", {
    name: "q", type: "search", value: wanted.q, placeholder: "Slug, target, title, notes", "aria-label": "Search",
  })),
  h("label", {}, h("input", { name: "tag", value: wanted.tag, placeholder: "Tag", "aria-label": "Tag" })),
  wanted.domain === "" ? null : h("label", {}, h("input", {
    name: "domain", value: wanted.domain, placeholder: "Domain", "aria-label": "Domain",
  })),
  h("label", {}, select("state", STATES)), h("label", {}, select("broken", PAGES)),
  h("label", {}, select("sort", SORTS)), h("button", {}, "Find"));
}

function listing(wanted, signal) {
  const load = (cursor) => get(["links"], { ...wanted, limit: PAGE, cursor }, signal);
  const none = Object.values(wanted).some(Boolean) ? "No link is like that." : "No link yet.";
  return pages(["Short link", "Target", "Clicks", "Made", "State"], load, row, { numeric: [2], none });
}

/** What brings a deleted link back. */
function restorer(link) {
  return button("Restore", async () => {
    await call("POST", path(["links", link.slug, "restore"], { domain: link.domain }));
    location.hash = addressOf(link);
  }, { class: "small" });
}

/** A mark of a link whose page is gone; who is asked may be of a release that knows of none. */
function gone({ broken }) {
  return broken ? h("span", { class: "bad", title: broken.reason }, " page gone") : null;
}

function row(link) {
  return [
    h("span", { class: "slug" },
      h("a", { href: addressOf(link) }, link.domain ? `${link.domain}/${link.slug}` : link.slug), " ",
      copyButton(link.short_url)),
    h("span", {}, h("span", { class: "target", title: link.target }, link.target),
      link.title ? h("small", {}, link.title, " ") : null, link.tags.map((tag) => h("span", { class: "tag" }, tag))),
    count(link.clicks),
    time(link.created_at),
    link.deleted_at === null ? [link.state, gone(link)] : restorer(link),
  ];
}
