// Which view is shown: by what stands behind "#" in the address, for whoever is signed in.

import * as account from "./account.js";
import { call, get, isAdmin, key, path } from "./api.js";
import { button, h } from "./dom.js";
import * as domain from "./domain.js";
import * as domains from "./domains.js";
import * as keys from "./keys.js";
import * as link from "./link.js";
import * as links from "./links.js";
import * as overview from "./overview.js";
import { signIn } from "./signin.js";
import * as tags from "./tags.js";
import * as users from "./users.js";
import * as webhooks from "./webhooks.js";

/** Name in the address, title, whether admins alone have it, module; and which one the menu has, where not itself. */
const VIEWS = [
  ["links", "Links", false, links],
  ["link", "Link", false, link, "links"],
  ["tags", "Tags", false, tags],
  ["domains", "Domains", false, domains],
  ["domain", "Domain", false, domain, "domains"],
  ["overview", "Statistics", false, overview],
  ["webhooks", "Webhooks", false, webhooks],
  ["keys", "API keys", true, keys],
  ["users", "Users", true, users],
  ["account", "Account", false, account],
];

let user = null; // who is signed in; null: nobody, or somebody with a key, of whom the API tells nothing
let leaving = new AbortController();

async function start() {
  if (key.get() === null) {
    try {
      user = await get(["session"]);
    } catch (error) {
      show(error.status === 401 ? signIn(start) : unanswered(error));
      return;
    }
  }
  await turn();
}

/** The page of who may be signed in: the server did not say. */
function unanswered(error) {
  return h("main", { class: "signin" }, h("h1", {}, "BoltLink"), h("p", { class: "bad", role: "alert" }, error.message),
    button("Try again", start));
}

/** Shows the view that the address names. */
async function turn() {
  if (user === null && key.get() === null) {
    return;
  }
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  const view = VIEWS.find(([word]) => word === name) ?? VIEWS[0];
  const mine = new AbortController();
  leaving.abort();
  leaving = mine;
  let body;
  try {
    body = await view[3].view(new URLSearchParams(query), mine.signal, user);
  } catch (error) {
    body = h("p", { class: "bad", role: "alert" }, error.message);
  }
  if (!mine.signal.aborted) {
    show(h("div", {}, header(view[4] ?? view[0]), h("main", { tabindex: -1 }, body)), view[1]);
    document.querySelector("main").focus({ preventScroll: true }); // whoever goes by keys goes on from here
  }
}

function header(current) {
  const shown = VIEWS.filter(([name, , needsAdmin, , within]) =>
    within === undefined && (isAdmin(user) || !needsAdmin) && (user !== null || name !== "account"));
  return h("header", {}, h("strong", {}, "BoltLink"),
    h("nav", {}, shown.map(([name, text]) =>
      h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, text))),
    h("span", { class: "pale", title: user?.email }, user === null ? "by an API key" : user.email),
    button("Sign out", signOut, { class: "small" }));
}

async function signOut() {
  if (key.get() === null) {
    await call("DELETE", path(["session"]));
  }
  history.replaceState(null, "", "#/links"); // what another one sees who signs in here
  forget();
}

function forget() {
  key.forget();
  user = null;
  leaving.abort();
  show(signIn(start));
}

function show(body, title) {
  document.title = title === undefined ? "BoltLink" : `${title} – BoltLink`;
  document.body.replaceChildren(body);
}

window.addEventListener("hashchange", turn);
window.addEventListener("signed-out", () => {
  if (user !== null || key.get() !== null) {
    forget();
  }
});
start();
