// Shows how far an import is. Without it the form works, and its page shows the end.

import { eventsOf } from "./events.js";

const form = document.getElementById("import");
const part = document.getElementById("import-progress");
const bar = part?.querySelector("progress");
const words = part?.querySelector("[data-words]");
const result = document.getElementById("import-result");

function tell(state, text, hint, href) {
  const notice = document.createElement("div");
  notice.className = `notice ${state}`;
  const inner = document.createElement("div");
  for (const [line, kind] of [[text, ""], [hint, "hint"]]) {
    if (!line) continue;
    const paragraph = document.createElement("p");
    paragraph.className = kind;
    paragraph.textContent = line;
    inner.append(paragraph);
  }
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = "Open the collection";
    inner.append(link);
  }
  notice.append(inner);
  result.replaceChildren(notice);
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const submit = form.querySelector("[type=submit]");
  submit.disabled = true;
  result.replaceChildren();
  part.hidden = false;
  bar.removeAttribute("value");
  words.textContent = "sending the file";
  let ended = false;
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new FormData(form),
      headers: { accept: "text/event-stream" },
    });
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
      const data = response.headers.get("content-type")?.includes("json") ? await response.json() : {};
      throw new Error(data.error ?? "The page is out of date: load it again");
    }
    for await (const { name, data } of eventsOf(response)) {
      if (name === "progress") {
        bar.max = data.total;
        bar.value = data.done;
        words.textContent = `${data.done.toLocaleString("en")} of ${data.total.toLocaleString("en")} lines`;
      } else if (name === "done") {
        ended = true;
        const text = `${data.stored.toLocaleString("en")} vectors are stored in ${data.collection}, ${data.replaced.toLocaleString("en")} of them replaced.`;
        tell("good", text, `Cost: ${data.cost_usd} USD`, data.href);
      } else if (name === "error") {
        ended = true;
        const stored = data.stored ? ` ${data.stored.toLocaleString("en")} vectors were stored before.` : "";
        const message = data.error.replaceAll("`", "");
        tell("bad", `${message.slice(0, 1).toUpperCase()}${message.slice(1)} (${data.code}).${stored}`, data.hint);
      }
    }
    if (!ended) throw new Error("The import broke off: start it again, nothing is stored twice");
  } catch (error) {
    tell("bad", error.message);
  } finally {
    part.hidden = true;
    submit.disabled = false;
  }
});
