// Forms: what is wrong with a field stands beside it.

import { ApiError } from "./api.js";
import { h } from "./dom.js";

/**
 * A form. A field is {name, label, type?, hint?, value?, options?, more?, ...attributes of the input}; those with
 * `more` are folded away. `submit` gets what was typed by name, numbers as numbers, times in ISO 8601, null where
 * nothing was, and what empties the form: to be called as soon as it is done, as the next one may be typed already.
 */
export function form(fields, submit, label) {
  const said = h("p", { class: "bad", role: "alert" });
  const inputs = new Map(fields.map((field) => [field.name, makeInput(field)]));
  const notes = new Map(fields.map((field) => [field.name, h("span", { class: "bad" })]));
  const send = h("button", { class: "main" }, label);
  const shown = (field) => row(field, inputs.get(field.name), notes.get(field.name));
  const seldom = fields.filter((field) => field.more);
  const rest = seldom.length === 0
    ? null
    : h("details", {}, h("summary", {}, "More"), h("div", { class: "fields" }, seldom.map(shown)));
  const element = h("form", {
    novalidate: true,
    submit: async (event) => {
      event.preventDefault();
      send.disabled = true;
      said.textContent = "";
      notes.forEach((note) => { note.textContent = ""; });
      try {
        const typed = Object.fromEntries(fields.map((field) => [field.name, read(field, inputs.get(field.name))]));
        await submit(typed, () => element.reset());
      } catch (error) {
        show(error, said, notes);
        notes.forEach((note) => {
          if (note.textContent !== "" && rest?.contains(note)) {
            rest.open = true;
          }
        });
      } finally {
        send.disabled = false;
      }
    },
  }, fields.filter((field) => !field.more).map(shown), rest, said, send);
  return element;
}

function row(field, input, note) {
  const text = h("span", {}, field.label, field.hint ? h("small", {}, ` ${field.hint}`) : null);
  return field.type === "checkbox"
    ? h("label", { class: "check" }, input, text, note)
    : h("label", {}, text, input, note);
}

function makeInput({ name, label, hint, more, given, type = "text", value, options, ...rest }) {
  if (type === "select") {
    const chosen = options.map(([word, text]) => h("option", { value: word, selected: word === value }, text));
    return h("select", { name, ...rest }, chosen);
  }
  if (type === "textarea" || type === "json") {
    return h("textarea", { name, rows: 3, spellcheck: "false", ...rest }, value ?? "");
  }
  const shown = type === "checkbox" ? { checked: value === true } : { value: value ?? "" };
  return h("input", { name, type, autocomplete: "off", ...shown, ...rest });
}

function read({ name, type }, input) {
  if (type === "checkbox") {
    return input.checked;
  }
  if (type === "json") {
    return readJson(name, input.value);
  }
  if (input.value === "") {
    return type === "number" || type === "datetime-local" ? null : "";
  }
  if (type === "number") {
    return Number(input.value);
  }
  return type === "datetime-local" ? `${new Date(input.value).toISOString().slice(0, 19)}Z` : input.value;
}

function readJson(name, text) {
  try {
    return text.trim() === "" ? [] : JSON.parse(text);
  } catch {
    throw new ApiError(0, { detail: "Some fields cannot be used.", errors: [{ field: name, message: "is no JSON" }] });
  }
}

function show(error, said, notes) {
  said.textContent = error.message;
  if (!(error instanceof ApiError)) {
    return;
  }
  for (const [place, message] of error.fields) {
    const note = notes.get(place.split(/[.[]/)[0]);
    if (note !== undefined) {
      note.textContent = message;
    }
  }
}

/** A moment as an input of it takes one: in this browser's time zone. */
export function localTime(text) {
  if (text === null) {
    return "";
  }
  const date = new Date(text);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
