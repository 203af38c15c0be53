// Webhooks: made, changed, tried, ended; what was delivered, and once more.

import { call, get, path, post } from "./api.js";
import { collection, pages } from "./collection.js";
import { asked, button, copyButton, h, moment, time } from "./dom.js";
import { form } from "./form.js";

const EVENTS = ["link.created", "link.updated", "link.banned", "link.deleted", "link.restored",
  "link.broken", "link.mended"];

export function view(query, signal, user) {
  const mayChange = user?.role !== "viewer";
  const make = (renew) => (mayChange ? maker(renew) : null);
  return collection("Webhooks", make, (renew) => listing(signal, renew, mayChange));
}

function maker(renew) {
  const made = h("div");
  const fields = [
    { name: "url", label: "URL", hint: "https, at a public address", type: "url", required: true },
    { name: "description", label: "Description", maxlength: 500 },
    ...EVENTS.map((event) => ({ name: event, label: event, type: "checkbox", value: true })),
    { name: "tag", label: "Only of links with the tag" },
    { name: "own", label: "Only of links that I make", type: "checkbox" },
  ];
  const submit = async (typed, reset) => {
    const { url, description, tag, own } = typed;
    const events = EVENTS.filter((event) => typed[event]);
    if (events.length === 0) { // to the API that is: all
      throw new Error("Choose at least one event.");
    }
    const body = { url, description, tag, own, events: events.length === EVENTS.length ? [] : events };
    made.replaceChildren(secretOf(await post(["webhooks"], body)));
    reset();
    await renew();
  };
  return [h("details", {}, h("summary", {}, "New webhook"), form(fields, submit, "Make")), made];
}

function secretOf({ secret }) {
  return h("div", { class: "box", role: "status" }, "Its secret, shown this once: ", h("code", {}, secret), " ",
    copyButton(secret));
}

function listing(signal, renew, mayChange) {
  const load = (cursor) => get(["webhooks"], { limit: 50, cursor }, signal);
  return pages(["URL", "Events", "State", "Made", ""], load, (webhook) => {
    const deliveries = h("div");
    return [
      h("span", {}, h("span", { class: "target", title: webhook.url }, webhook.url),
        h("small", {}, webhook.description), deliveries),
      webhook.events.join(" ") || "all",
      stateOf(webhook),
      time(webhook.created_at),
      h("span", {}, button("Deliveries", () => show(webhook, deliveries, signal, mayChange), { class: "small" }),
        mayChange ? actions(webhook, renew, deliveries) : null),
    ];
  });
}

function stateOf(webhook) {
  const failing = webhook.failing_since === null ? "" : ` failing since ${moment(webhook.failing_since)}`;
  return h("span", { class: webhook.state === "active" ? null : "bad" }, webhook.state,
    h("small", {}, ` ${webhook.reason}${failing}`));
}

function actions(webhook, renew, place) {
  const where = (...words) => path(["webhooks", webhook.id, ...words]);
  let version = webhook.version;
  const headers = () => ({ "If-Match": `"${version}"` });
  const isActive = webhook.state === "active";
  const change = async () => {
    await call("PATCH", where(), { headers: headers(), body: { state: isActive ? "disabled" : "active" } });
    await renew();
  };
  const renewSecret = asked("Make a new secret? For a day deliveries are signed with both.", async () => {
    const renewed = await call("POST", where("secret"), { headers: headers() });
    version = renewed.version;
    place.replaceChildren(secretOf(renewed));
  });
  const remove = asked(`End the webhook to ${webhook.url}?`, async () => {
    await call("DELETE", where(), { headers: headers() });
    await renew();
  });
  return [
    " ", button("Test", () => call("POST", where("test"), {}), { class: "small" }),
    " ", button(isActive ? "Disable" : "Enable", change, { class: "small" }),
    " ", button("New secret", renewSecret, { class: "small" }),
    " ", button("End", remove, { class: "small danger" }),
  ];
}

async function show(webhook, place, signal, mayChange) {
  const load = (cursor) => get(["webhooks", webhook.id, "deliveries"], { limit: 20, cursor }, signal);
  const again = (delivery) => button("Send again", async () => {
    await post(["webhooks", webhook.id, "deliveries", delivery.id]);
    await show(webhook, place, signal, mayChange);
  }, { class: "small" });
  place.replaceChildren(...await pages(["When", "Event", "State", "Attempts", "Answer", ""], load, (delivery) => [
    time(delivery.created_at), delivery.event, delivery.state, String(delivery.attempts),
    h("span", {}, delivery.status === null ? "" : String(delivery.status), " ", delivery.error),
    mayChange ? again(delivery) : "",
  ], { numeric: [3], none: "Nothing was delivered yet." }));
}
