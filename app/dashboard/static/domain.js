// One domain: what it is set to, its changes, and its end.

import { call, get, isAdmin, path } from "./api.js";
import { again, asked, button, h, time } from "./dom.js";
import { form } from "./form.js";

const ROBOTS = [["allow", "all links"], ["disallow", "nothing"]];

/** Where a domain's view is. */
export const addressOf = (domain) => `#/domain?${new URLSearchParams({ name: domain.name })}`;

const linksOf = (domain) => `#/links?${new URLSearchParams({ domain: domain.name })}`;

export const isDefault = (domain) => domain.created_at === null;

export async function view(query, signal, user) {
  const domain = await get(["domains", query.get("name") ?? ""], {}, signal);
  const mayChange = isAdmin(user);
  return [
    h("h1", {}, domain.name),
    factsOf(domain),
    isDefault(domain)
      ? h("p", { class: "pale" }, "The default domain. Its options hold under every host that is no further domain.")
      : null,
    mayChange && !isDefault(domain) ? h("p", { class: "tools" }, remover(domain)) : null,
    mayChange ? h("details", {}, h("summary", {}, "Change"), editor(domain)) : null,
  ];
}

function factsOf(domain) {
  const target = (url) => url && h("a", { href: url, rel: "noreferrer" }, url);
  const rows = [
    ["/ leads to", target(domain.root_target)],
    ["Not found leads to", target(domain.not_found_target)],
    ["Crawlers fetch", crawlersOf(domain)],
    ["Made slugs", [`${domain.slug_length} of `, h("code", {}, domain.slug_alphabet)]],
    ["Capitals", domain.case_insensitive ? "mean nothing: /Sale and /sale are one link" : "make another link"],
    ["Added", domain.created_at && time(domain.created_at)],
    ["Links", isDefault(domain) ? null : h("a", { href: linksOf(domain) }, "all of this domain")],
  ];
  return h("dl", { class: "facts" }, rows.filter(([, text]) => text !== null).map(([name, text]) =>
    [h("dt", {}, name), h("dd", {}, text)]));
}

export const crawlersOf = (domain) => ROBOTS.find(([word]) => word === domain.robots)[1];

function remover(domain) {
  const question = `Remove ${domain.name}? Its options are gone for good. Visitors who still come by this name are ` +
    "answered as by the default domain, or find nothing, as BOLTLINK_UNKNOWN_HOSTS says.";
  return button("Remove", asked(question, async () => {
    await call("DELETE", whereOf(domain));
    location.hash = "#/domains";
  }), { class: "danger" });
}

function editor(domain) {
  const question = `Make /Sale and /sale one link under ${domain.name}? Links with capitals are renamed, and stay so ` +
    "when it is turned off again.";
  return form(fieldsOf(domain), async (typed) => {
    const body = changes(typed, domain);
    const save = async () => {
      await call("PATCH", whereOf(domain), { body });
      again();
    };
    await (body.case_insensitive ? asked(question, save) : save)();
  }, "Save");
}

function fieldsOf(domain) {
  return [
    {
      name: "root_target", label: "Where / leads", type: "url", placeholder: "https://",
      hint: "left out: a page that says what runs here",
    },
    {
      name: "not_found_target", label: "Where visitors go who find no link", type: "url", placeholder: "https://",
      hint: "left out: they are told so",
    },
    { name: "robots", label: "Crawlers may fetch", type: "select", options: ROBOTS },
    {
      name: "slug_length", label: "Characters of a made slug", type: "number", min: 5, max: 32,
      hint: "5 to 32, left out: 7",
    },
    {
      name: "slug_alphabet", label: "What made slugs are made of", maxlength: 64, spellcheck: "false",
      hint: "letters, digits, - or _; left out: all but look-alikes",
    },
    {
      name: "case_insensitive", label: "/Sale and /sale are one link", type: "checkbox",
      hint: "takes some seconds",
    },
  ].map((field) => ({ ...field, value: domain[field.name] }));
}

/** What of the options was typed anew; what was emptied is null. */
function changes(typed, domain) {
  const given = Object.entries(typed).map(([name, value]) => [name, value === "" ? null : value]);
  return Object.fromEntries(given.filter(([name, value]) => value !== domain[name]));
}

const whereOf = (domain) => path(["domains", domain.name]);
