// The fields of a link: of one that is made, and of one that is changed.

import { get } from "./api.js";
import { form, localTime } from "./form.js";

const CODES = [301, 302, 307, 308].map((code) => [String(code), String(code)]);

/** Where a link's view is. */
export function addressOf(link) {
  return `#/link?${new URLSearchParams({ slug: link.slug, domain: link.domain })}`;
}

/** A form over `link` (null: a new one); `submit` gets the body of the request, of a change only what was changed. */
export async function linkForm(link, submit, label) {
  const fields = fieldsOf(link);
  if (link === null) {
    const { items } = await get(["domains"]);
    if (items.length > 0) {
      const options = [["", "default"], ...items.map(({ name }) => [name, name])];
      fields.splice(2, 0, { name: "domain", label: "Domain", type: "select", options, value: "" });
    }
  }
  const given = Object.fromEntries(fields.map((field) => [field.name, field.given]));
  const former = link === null ? {} : bodyOf(given, link);
  return form(fields, async (typed, reset) => {
    const body = bodyOf(typed, link);
    const changed = Object.entries(body).filter(([name, value]) =>
      link === null ? !isEmpty(value) : JSON.stringify(value) !== JSON.stringify(former[name]));
    await submit(Object.fromEntries(changed), reset);
  }, label);
}

function fieldsOf(link) {
  const of = link ?? {};
  const list = (values) => (values?.length ? JSON.stringify(values, null, 1) : "");
  return [
    { name: "target", label: "Target", type: "url", value: of.target, placeholder: "https://", required: true },
    ...(link === null ? [{ name: "slug", label: "Slug", hint: "left out: made at random", maxlength: 64 }] : []),
    ...[
      { name: "title", label: "Title", value: of.title, maxlength: 500 },
      { name: "tags", label: "Tags", hint: "with commas between", value: of.tags?.join(", ") },
      { name: "starts_at", label: "Begins", type: "datetime-local", step: 1, value: localTime(of.starts_at ?? null) },
      { name: "expires_at", label: "Ends", type: "datetime-local", step: 1, value: localTime(of.expires_at ?? null) },
      { name: "max_visits", label: "Visits at most", type: "number", min: 1, value: of.max_visits },
      { name: "code", label: "Status", type: "select", options: CODES, value: String(of.code ?? 302) },
      {
        name: "password", label: "Password", type: "password", autocomplete: "new-password",
        hint: of.password ? "there is one; left out, it stays" : "asked of visitors",
      },
      ...(of.password ? [{ name: "open", label: "No password any more", type: "checkbox" }] : []),
      { name: "forward_query", label: "Add the visitor's query", type: "checkbox", value: of.forward_query },
      { name: "forward_path", label: "Add the rest of the path", type: "checkbox", value: of.forward_path },
      { name: "rules", label: "Rules", type: "json", hint: "JSON, as /docs describes it", value: list(of.rules) },
      { name: "variants", label: "Variants", type: "json", hint: "JSON", value: list(of.variants) },
      { name: "notes", label: "Notes", type: "textarea", value: of.notes },
    ].map((field) => ({ ...field, more: link === null })),
  ].map((field) => ({ ...field, given: givenBy(field) }));
}

/** What a field holds before anything is typed, as the form reads it. */
function givenBy({ type, value }) {
  switch (type) {
    case "checkbox": return value === true;
    case "json": return value ? JSON.parse(value) : [];
    case "number": return value ?? null;
    case "datetime-local": return value ? `${new Date(value).toISOString().slice(0, 19)}Z` : null;
    default: return value ?? "";
  }
}

function bodyOf(typed, link) {
  const { open, password, code, tags, ...rest } = typed;
  const body = { ...rest, code: Number(code), tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean) };
  if (open) {
    body.password = null;
  } else if (password) {
    body.password = password;
  }
  if (link === null && body.code === 302) {
    delete body.code;
  }
  return body;
}

function isEmpty(value) {
  return value === "" || value === null || value === false || (Array.isArray(value) && value.length === 0);
}
