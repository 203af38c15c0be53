// Domains that links may live under: added and listed.

import { get, isAdmin, post } from "./api.js";
import { collection, pages } from "./collection.js";
import { h, time } from "./dom.js";
import { addressOf, crawlersOf, isDefault } from "./domain.js";
import { form } from "./form.js";

export function view(query, signal, user) {
  return collection("Domains", () => (isAdmin(user) ? maker() : null), () => listing(signal));
}

function maker() {
  const fields = [{ name: "name", label: "Name", hint: "go.example.com", required: true, maxlength: 253 }];
  const submit = async (typed) => {
    location.hash = addressOf(await post(["domains"], typed)); // where its options are
  };
  return h("details", {}, h("summary", {}, "New domain"),
    h("div", {}, h("p", { class: "pale" }, "Point the name to these machines, with a certificate where TLS ends."),
      form(fields, submit, "Add")));
}

function listing(signal) {
  const load = async () => {
    const { items, default: first } = await get(["domains"], {}, signal);
    return { items: first === null ? items : [first, ...items], next_cursor: null };
  };
  return pages(["Domain", "Leads on", "Made slugs", "Crawlers fetch", "Added"], load, row);
}

function row(domain) {
  const leads = [["/", domain.root_target], ["not found", domain.not_found_target]].filter(([, url]) => url !== null);
  return [
    h("span", { class: "slug" }, h("a", { href: addressOf(domain) }, domain.name),
      isDefault(domain) ? h("small", {}, " the default one") : null),
    leads.length === 0 ? "" : h("span", {}, leads.map(([what, url]) =>
      h("span", { class: "target", title: url }, `${what} → ${url}`))),
    `${domain.slug_length} characters${domain.case_insensitive ? ", in any case" : ""}`,
    crawlersOf(domain),
    time(domain.created_at),
  ];
}
