// Signing in: by e-mail and password, by an identity provider, or by an API key.

import { ApiError, call, key, path } from "./api.js";
import { h } from "./dom.js";
import { form } from "./form.js";

/** The page of who is not signed in; `done` goes on when they are. */
export function signIn(done) {
  const body = h("main", { class: "signin" }, h("h1", {}, "BoltLink"), byPassword(done));
  if (document.body.dataset.signOn === "on") {
    body.append(h("p", {}, h("a", { href: path(["session", "oidc"], { return_to: "/dashboard" }) },
      "Sign in by the identity provider")));
  }
  body.append(h("details", {}, h("summary", {}, "Use an API key"), byKey(done),
    h("p", {}, h("small", {}, "This tab holds it until it is closed. The first one is in ",
      h("code", {}, "var/admin-key"), "; people get accounts by ",
      h("code", {}, "boltlink users create EMAIL"), "."))));
  return body;
}

function byPassword(done) {
  const place = h("div");
  const fields = [
    { name: "email", label: "E-mail", type: "email", autocomplete: "username", required: true },
    { name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true },
  ];
  const ask = (given) => async (typed) => {
    const body = { ...given, ...typed };
    try {
      await call("POST", path(["session"]), { body });
    } catch (error) {
      if (!(error instanceof ApiError) || !error.fields.has("code") || given.email) {
        throw error;
      }
      place.replaceChildren(form([{
        name: "code", label: "Code", hint: "of your app, or a recovery code", autocomplete: "one-time-code",
      }], ask(body), "Sign in"));
      place.querySelector("input").focus();
      return;
    }
    await done();
  };
  place.append(form(fields, ask({}), "Sign in"));
  return place;
}

function byKey(done) {
  return form([{ name: "key", label: "API key", type: "password", required: true }], async (typed) => {
    const given = typed.key.trim();
    try {
      await call("GET", path(["links"], { limit: 1 }), { headers: { Authorization: `Bearer ${given}` } });
    } catch (error) {
      if (error.status !== 403) { // it may not see links, but it is a key
        throw error;
      }
    }
    key.set(given);
    await done();
  }, "Use this key");
}
