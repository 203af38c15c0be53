// API keys: made, listed, revoked.

import { call, get, path, post } from "./api.js";
import { collection, pages } from "./collection.js";
import { asked, button, copyButton, h, time } from "./dom.js";
import { form } from "./form.js";

const SCOPES = ["links:read", "links:write", "stats:read", "admin"];
const GIVEN = ["links:write", "stats:read"];

export function view(query, signal) {
  return collection("API keys", maker, (renew) => listing(signal, renew));
}

function maker(renew) {
  const made = h("div");
  const fields = [
    { name: "name", label: "Name", hint: "what it is for", required: true, maxlength: 100 },
    ...SCOPES.map((scope) => ({ name: scope, label: scope, type: "checkbox", value: GIVEN.includes(scope) })),
    { name: "domain", label: "Only links of the domain" },
    { name: "tag", label: "Only links with the tag" },
    { name: "own", label: "Only links that it makes itself", type: "checkbox" },
    { name: "expires_at", label: "Ends", type: "datetime-local", step: 1 },
  ];
  const submit = async (typed, reset) => {
    const { name, own, tag, domain, expires_at: end } = typed;
    const scopes = SCOPES.filter((scope) => typed[scope]);
    const body = { name, scopes, own, tag, expires_at: end, domain: domain === "" ? null : domain };
    const key = await post(["keys"], body);
    reset();
    made.replaceChildren(h("div", { class: "box", role: "status" }, "Shown this once: ", h("code", {}, key.key), " ",
      copyButton(key.key)));
    await renew();
  };
  return [h("details", {}, h("summary", {}, "New key"), form(fields, submit, "Make")), made];
}

function listing(signal, renew) {
  const titles = ["Name", "Begins with", "Rights", "Made", "Last used", "Ends", ""];
  const load = (cursor) => get(["keys"], { limit: 100, cursor }, signal);
  return pages(titles, load, (key) => [
    key.name, h("code", {}, `${key.prefix}…`), [key.scopes.join(" "), narrowed(key)].filter(Boolean).join("; "),
    time(key.created_at), time(key.last_used_at), time(key.expires_at),
    key.revoked_at ? h("span", { class: "pale" }, "revoked") : revoker(key, renew),
  ]);
}

function revoker(key, renew) {
  return button("Revoke", asked(`Revoke ${key.name}? It is refused everywhere within a second, for ever.`, async () => {
    await call("DELETE", path(["keys", key.id]));
    await renew();
  }), { class: "small danger" });
}

function narrowed(key) {
  const words = [key.domain === null ? "" : `domain ${key.domain || "(default)"}`, key.tag && `tag ${key.tag}`,
    key.own ? "own links" : ""];
  return words.filter(Boolean).join(", ");
}
