// One's own account: password and second factor.

import { get, post } from "./api.js";
import { h } from "./dom.js";
import { form } from "./form.js";

const PASSWORD = { name: "password", label: "Password", type: "password", autocomplete: "current-password" };
const CODE = { name: "code", label: "Code", autocomplete: "one-time-code" };

export async function view(query, signal, user) {
  if (user === null) {
    return [h("h1", {}, "Account"), h("p", {}, "An API key has no account: sign in by e-mail.")];
  }
  const now = await get(["session"], {}, signal);
  return [h("h1", {}, now.email), h("p", {}, `Role: ${now.role}`), h("h2", {}, "Password"), password(),
    h("h2", {}, "Second factor"), now.totp ? ending() : beginning()];
}

function password() {
  const fields = [
    { name: "old", label: "Old password", type: "password", autocomplete: "current-password" },
    {
      name: "new", label: "New password", hint: "10 characters at least",
      type: "password", autocomplete: "new-password",
    },
  ];
  return h("div", {}, h("p", { class: "pale" }, "A new one signs you out everywhere."), form(fields, async (typed) => {
    await post(["session", "password"], typed);
    window.dispatchEvent(new Event("signed-out"));
  }, "Change"));
}

function beginning() {
  const place = h("div");
  place.append(form([PASSWORD], async (typed) => {
    const { secret, uri } = await post(["session", "totp"], typed);
    place.replaceChildren(
      h("p", {}, "Give this to an authenticator app: ", h("a", { href: uri }, "open it there"), " or type ",
        h("code", {}, secret), ". It is shown this once."),
      form([{ ...CODE, hint: "that the app shows" }], async (code) => {
        const { recovery_codes: codes } = await post(["session", "totp", "confirm"], code);
        place.replaceChildren(h("p", {}, "It is asked for from now on. Keep these recovery codes; each signs in once, ",
          "and they are shown this once:"), h("pre", { class: "box" }, codes.join("\n")));
      }, "Confirm"));
  }, "Set up"));
  return place;
}

function ending() {
  const place = h("div", {}, form([PASSWORD, CODE], async (typed) => {
    await post(["session", "totp", "delete"], typed);
    place.replaceChildren(h("p", {}, "It is gone."));
  }, "Take away"));
  return place;
}
