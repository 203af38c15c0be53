// Visits as they are counted: an event stream, read by fetch, because an EventSource cannot send a key.

import { path, refusal, send } from "./api.js";
import { h } from "./dom.js";

const SHOWN = 100;
const AGAIN_MS = 3_000;

/** A box in which visits appear until `signal` says that it is left; `query` narrows them to a link. */
export function live(query, signal) {
  const box = h("div", { class: "live box", role: "log", "aria-label": "Visits" }, "Waiting for visits…");
  let isEmpty = true;
  const say = (text, name) => {
    if (isEmpty) {
      box.replaceChildren();
      isEmpty = false;
    }
    box.prepend(h("div", { class: name }, text));
    while (box.childElementCount > SHOWN) {
      box.lastChild.remove();
    }
  };
  listen(query, signal, say);
  return box;
}

async function listen(query, signal, say) {
  let fault = "";
  const complain = ({ message }) => {
    if (message !== fault) { // once, or a server that is away pushes the visits out
      say(message, "bad");
    }
    fault = message;
  };
  while (!signal.aborted) {
    try {
      const answer = await send("GET", path(["live"], query), { signal });
      if (!answer.ok) {
        complain(await refusal(answer));
        if (answer.status < 500 && answer.status !== 429) {
          return;
        }
      } else {
        fault = "";
        await read(answer.body.pipeThrough(new TextDecoderStream()).getReader(), say);
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      complain(error);
    }
    await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
  }
}

async function read(reader, say) {
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    const events = (held + value).split("\n\n");
    held = events.pop();
    events.forEach((event) => tell(event, say));
  }
}

function tell(event, say) {
  const lines = event.split("\n");
  const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
  const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
  if (name === undefined || data === undefined) {
    return;
  }
  const told = JSON.parse(data);
  if (name === "visit") {
    const kind = told.kind === "person" ? "" : told.kind;
    const words = [kind, told.browser, told.os, told.device, told.country, told.referrer];
    const slug = told.domain ? `${told.domain}/${told.slug}` : told.slug;
    say(`${new Date(told.time).toLocaleTimeString("en-GB")}  ${slug}  ${words.filter(Boolean).join("  ")}`);
  } else if (name === "sampled") {
    say(`${told.left_out} more`, "pale");
  } else if (name === "lost") {
    say(`${told.events} were not shown: this page was too slow`, "pale");
  }
}
