// Views of collections: what makes a member, and its members page by page.

import { button, h, table } from "./dom.js";

/** A view: its title, what `maker` draws, and what `listing` finds; both get a function that lists anew. */
export async function collection(title, maker, listing) {
  const listed = h("div");
  const renew = async () => listed.replaceChildren(...await listing(renew));
  await renew();
  return [h("h1", {}, title), maker(renew), listed];
}

/** A table of the pages that `load` gives for a cursor, and a button for those that follow; `row` makes cells. */
export async function pages(titles, load, row, { numeric = [], none = "There is none." } = {}) {
  const shown = table(titles, [], numeric);
  const body = shown.querySelector("tbody");
  let cursor = "";
  const next = async () => {
    const page = await load(cursor);
    body.append(...table(titles, page.items.map(row), numeric).querySelectorAll("tbody tr"));
    cursor = page.next_cursor;
    more.hidden = cursor === null;
  };
  const more = button("More", next);
  await next();
  return body.childElementCount === 0 ? [h("p", { class: "pale" }, none)] : [shown, more];
}
