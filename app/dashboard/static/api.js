// Calls of /api/v1: by the cookie of a session, or by an API key that this tab alone holds.

const KEY = "boltlink-key";

/** What the API refused: its problem document (RFC 9457). */
export class ApiError extends Error {
  constructor(status, problem) {
    const wrong = (problem.errors ?? []).map(({ field, message }) => `${field} ${message}`).join("; ");
    super([problem.detail ?? `The server answered ${status}.`, wrong].filter(Boolean).join(" "));
    this.status = status;
    this.fields = new Map((problem.errors ?? []).map(({ field, message }) => [field, message]));
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Whether somebody may be an admin; of who comes with a key (null) the API does not tell, but refuse. */
export const isAdmin = (user) => user === null || user.role === "admin";

/** A path below /api/v1 with its query; what is empty is left out. */
export function path(words, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return `/api/v1/${words.map(encodeURIComponent).join("/")}${text && "?"}${text}`;
}

/** The answer, whatever its status; raises ApiError when there is none. */
export async function send(method, where, { body, headers, signal } = {}) {
  const fields = { ...headers };
  if (key.get() !== null) {
    fields.Authorization = `Bearer ${key.get()}`;
  }
  if (body !== undefined) {
    fields["Content-Type"] = "application/json";
  }
  const text = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(where, { method, headers: fields, body: text, credentials: "same-origin", signal });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0, { detail: "The server does not answer." });
  }
}

/** The JSON of an answer, null of an empty one; raises ApiError. */
export async function call(method, where, options) {
  const answer = await send(method, where, options);
  if (!answer.ok) {
    throw await refusal(answer);
  }
  return answer.status === 204 ? null : answer.json();
}

/** What an answer refuses; who is signed in no more is told so. */
export async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    window.dispatchEvent(new Event("signed-out"));
  }
  return new ApiError(answer.status, problem);
}

/** What makes one out of a request that is sent again; `crypto.randomUUID` is for pages with TLS alone. */
export function idempotencyKeys() {
  let last = "";
  let key = "";
  return (body) => {
    const text = JSON.stringify(body);
    if (text !== last) {
      last = text;
      key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return key;
  };
}

export const get = (words, query, signal) => call("GET", path(words, query), { signal });
export const post = (words, body, headers) => call("POST", path(words), { body, headers });
