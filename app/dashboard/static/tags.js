// Tags of all links: how many links have each; renamed, made one with another, taken away.

import { call, get, isAdmin, path } from "./api.js";
import { collection, pages } from "./collection.js";
import { asked, button, count, h } from "./dom.js";
import { form } from "./form.js";

const TAKEN = 409;

export function view(query, signal, user) {
  const said = h("p", { role: "status" });
  const change = (renew) => async (method, tag, body) => {
    const { is_done: isDone } = await call(method, path(["tags", tag.name]), { body });
    said.textContent = isDone ? "" : `So many links have ${tag.name} that the rest follows in the background.`;
    await renew();
  };
  return collection("Tags", () => said, (renew) => listing(signal, isAdmin(user) ? change(renew) : null));
}

function listing(signal, change) {
  const load = (cursor) => get(["tags"], { limit: 50, cursor }, signal);
  const titles = change === null ? ["Tag", "Links"] : ["Tag", "Links", ""];
  return pages(titles, load, (tag) => row(tag, change), { numeric: [1], none: "No link has a tag." });
}

function row(tag, change) {
  const place = h("div");
  const cells = [
    h("span", {}, h("a", { href: `#/links?${new URLSearchParams({ tag: tag.name })}` }, tag.name), place),
    count(tag.links),
  ];
  return change === null ? cells : [...cells, actions(tag, change, place)];
}

function actions(tag, change, place) {
  const rename = () => {
    if (place.childElementCount > 0) {
      place.replaceChildren();
      return;
    }
    place.append(renamer(tag, change));
    const input = place.querySelector("input");
    input.focus();
    input.select();
  };
  const remove = asked(`Take the tag ${tag.name} from all its links? The links stay.`, () => change("DELETE", tag));
  return h("span", {}, button("Rename", rename, { class: "small" }), " ",
    button("Remove", remove, { class: "small danger" }));
}

function renamer(tag, change) {
  const fields = [{ name: "name", label: "New name", value: tag.name, required: true, maxlength: 64 }];
  return form(fields, async (typed) => {
    const name = typed.name.trim();
    try {
      await change("PATCH", tag, { name });
    } catch (error) {
      if (error.status !== TAKEN || !error.fields.has("name")) {
        throw error;
      }
      const question = `There is a tag ${name} already. Make ${tag.name} and ${name} one? Nothing tells them apart then.`;
      await asked(question, () => change("PATCH", tag, { name, merge: true }))();
    }
  }, "Rename");
}
