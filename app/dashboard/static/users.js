// People who sign in: made, changed, signed out, removed.

import { call, get, path, post } from "./api.js";
import { collection, pages } from "./collection.js";
import { asked, button, h, time } from "./dom.js";
import { form } from "./form.js";

const ROLES = [["viewer", "viewer"], ["editor", "editor"], ["admin", "admin"]];

export function view(query, signal) {
  return collection("Users", maker, (renew) => listing(signal, renew));
}

function maker(renew) {
  const fields = [
    { name: "email", label: "E-mail", type: "email", required: true },
    { name: "role", label: "Role", type: "select", options: ROLES, value: "editor" },
    {
      name: "password", label: "Password", hint: "10 characters at least",
      type: "password", autocomplete: "new-password",
    },
  ];
  return h("details", {}, h("summary", {}, "New user"), form(fields, async (typed, reset) => {
    await post(["users"], typed);
    reset();
    await renew();
  }, "Make"));
}

function listing(signal, renew) {
  const load = (cursor) => get(["users"], { limit: 100, cursor }, signal);
  return pages(["E-mail", "Role", "Second factor", "Made", "State", ""], load, (user) => row(user, renew));
}

function row(user, renew) {
  const where = path(["users", user.id]);
  const change = (body) => async () => {
    await call("PATCH", where, { body });
    await renew();
  };
  const role = h("select", {
    "aria-label": `Role of ${user.email}`,
    change: async (event) => {
      try {
        await change({ role: event.target.value })();
      } catch (error) {
        alert(error.message);
        await renew();
      }
    },
  }, ROLES.map(([word, text]) => h("option", { value: word, selected: word === user.role }, text)));
  const remove = async () => {
    await call("DELETE", where);
    await renew();
  };
  const endFactor = async () => {
    await call("DELETE", path(["users", user.id, "totp"]));
    await renew();
  };
  return [
    user.email, role,
    user.totp
      ? button("Take away", asked(`Take the second factor of ${user.email} away?`, endFactor), { class: "small" })
      : "none",
    time(user.created_at),
    user.disabled ? h("span", { class: "bad" }, "disabled") : "active",
    h("span", {},
      button(user.disabled ? "Enable" : "Disable", change({ disabled: !user.disabled }), { class: "small" }), " ",
      button("Sign out", () => call("DELETE", path(["users", user.id, "sessions"])), { class: "small" }), " ",
      button("Remove", asked(`Remove ${user.email}? Their links stay.`, remove), { class: "small danger" })),
  ];
}
