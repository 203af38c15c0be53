// Elements without a string of HTML: text stays text, whatever links and visitors hold.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `attrs` with a function become listeners, true and false are set or left out, children may be null. */
export function h(tag, attrs, ...children) {
  return fill(document.createElement(tag), attrs, children);
}

/** The same within a drawing. */
export function s(tag, attrs, ...children) {
  return fill(document.createElementNS(SVG, tag), attrs, children);
}

function fill(element, attrs, children) {
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (typeof value === "function") {
      element.addEventListener(name, value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button that does `work` once at a time, and says beside it why it failed. */
export function button(text, work, attrs) {
  const said = h("span", { class: "bad", role: "alert" });
  const element = h("button", {
    type: "button",
    ...attrs,
    click: async () => {
      element.disabled = true;
      said.textContent = "";
      try {
        await work();
      } catch (error) {
        said.textContent = ` ${error.message}`;
      } finally {
        element.disabled = false;
      }
    },
  }, text);
  return h("span", {}, element, said);
}

/** `work`, if whoever is asked says yes. */
export function asked(question, work) {
  return async () => {
    if (confirm(question)) {
      await work();
    }
  };
}

/** The same view, of what it shows as it is now. */
export const again = () => window.dispatchEvent(new Event("hashchange"));

/** A button that copies `text`. */
export function copyButton(text) {
  const element = button("Copy", async () => {
    await copy(text);
    element.firstChild.textContent = "Copied";
    setTimeout(() => { element.firstChild.textContent = "Copy"; }, 1500);
  }, { class: "small", "aria-label": `Copy ${text}` });
  return element;
}

async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const held = h("textarea", {}, text); // a page without TLS has no clipboard but by this way
  document.body.append(held);
  held.select();
  const isDone = document.execCommand("copy");
  held.remove();
  if (!isDone) {
    throw new Error("The browser does not copy.");
  }
}

/** A table; a row is an array of texts and elements. */
export function table(titles, rows, numeric = []) {
  const cell = (tag, attrs) => (content, place) => // where it is narrow, each cell says what it is (style.css)
    h(tag, { ...attrs, class: numeric.includes(place) ? "number" : null, "data-title": titles[place] }, content);
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, titles.map(cell("th", { scope: "col" })))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell("td", {})))))));
}

const numbers = new Intl.NumberFormat("en");

/** A number with thousands apart. */
export function count(value) {
  return typeof value === "number" ? numbers.format(value) : value;
}

/** A moment in this browser's time zone, to the minute. */
export function moment(text) {
  if (text === null) {
    return "";
  }
  const date = new Date(text);
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The same as an element, which is not broken over lines. */
export function time(text) {
  return text === null ? "" : h("time", { datetime: text }, moment(text));
}
