// Streams the answers of the playground into its page. Without it the form works, and the answer comes as a whole.

import { eventsOf } from "./events.js";

const form = document.getElementById("playground");
const output = document.getElementById("playground-output");
const template = document.getElementById("playground-card");

function fact(list, name, value, href) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const detail = document.createElement("dd");
  term.textContent = name;
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.dataset.drawer = "";
    link.textContent = value;
    detail.append(link);
  } else {
    detail.textContent = value;
  }
  row.append(term, detail);
  list.append(row);
}

function show(card, name, text) {
  const part = card.querySelector(`[data-${name}]`);
  part.hidden = false;
  part.querySelector("code").textContent = text;
}

// Tool calls come in pieces, by their place.
function joinTools(calls, pieces) {
  for (const piece of pieces) {
    const call = (calls[piece.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    call.id ||= piece.id ?? "";
    call.function.name += piece.function?.name ?? "";
    call.function.arguments += piece.function?.arguments ?? "";
  }
}

function finish(card, state, data) {
  const facts = card.querySelector("[data-facts]");
  const { usage, routing, month } = data;
  if (usage) {
    const cached = usage.cached_input_tokens ? `, ${usage.cached_input_tokens} of them cached` : "";
    fact(facts, "Input", `${usage.input_tokens} tokens${cached}`);
    fact(facts, "Output", `${usage.output_tokens} tokens`);
    fact(facts, "Cost", `${usage.cost_usd} USD, tokens counted by ${usage.usage_source}`);
    if (usage.max_tokens_applied) fact(facts, "Max tokens", `lowered to ${usage.max_tokens_applied}`);
  }
  if (data.bill) fact(facts, "With the search", `${data.bill.cost_usd} USD`);
  if (routing) {
    const cache = routing.cache ? `, cache ${routing.cache}` : "";
    fact(facts, "Routing", `${routing.deployment ?? "none"}, ${routing.tries} ${routing.tries === 1 ? "try" : "tries"}${cache}`);
  }
  const first = state.first ? `first text after ${Math.round(state.first - state.began)} ms, ` : "";
  fact(facts, "Time", `${first}${Math.round(performance.now() - state.began)} ms in all`);
  if (month) {
    fact(facts, "Spent this month", `${month.spent_usd} USD`);
    fact(facts, "Available", `${month.available_usd} USD`);
  }
  if (state.requestId) fact(facts, "Call", state.requestId, `${output.dataset.call}event=${encodeURIComponent(state.requestId)}`);
}

function fail(card, data) {
  const notice = card.querySelector("[data-error]");
  notice.hidden = false;
  const [text, hint] = notice.querySelectorAll("p");
  const message = data.error ?? "The gateway could not be reached";
  text.textContent = `${message.slice(0, 1).toUpperCase()}${message.slice(1)} (${data.code ?? "NETWORK"}${data.status ? `, ${data.status}` : ""})`.replaceAll("`", "");
  hint.textContent = data.hint ?? "";
  const field = data.field && document.getElementById(`playground-${data.field}`);
  if (!field) return;
  const folded = field.closest("details");
  if (folded) folded.open = true;
  field.focus();
}

async function run(body, card) {
  const state = { began: performance.now(), first: 0, text: "", reasoning: "", calls: [], requestId: "" };
  const stop = new AbortController();
  const button = card.querySelector("[data-stop]");
  button.addEventListener("click", () => stop.abort());
  let ended = false;
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(body),
      headers: { accept: "text/event-stream" },
      signal: stop.signal,
    });
    state.requestId = response.headers.get("x-kaixu-request-id") ?? "";
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
      // The session is over, or the form is too large: what the server shows says it.
      const data = response.headers.get("content-type")?.includes("json") ? await response.json() : {};
      fail(card, { error: "The page is out of date: load it again", status: response.status, ...data });
      return;
    }
    for await (const { name, data } of eventsOf(response)) {
      if (name === "delta") {
        state.first ||= performance.now();
        if (data.text) card.querySelector("[data-text]").textContent = state.text += data.text;
        if (data.reasoning) show(card, "reasoning", (state.reasoning += data.reasoning));
        if (data.tool_calls) {
          joinTools(state.calls, data.tool_calls);
          show(card, "tools", JSON.stringify(state.calls, null, 2));
        }
      } else if (name === "meta" && data.citations?.length) {
        const found = data.citations.map((one) => `${one.rank}. ${one.doc_id} (${one.score.toFixed(4)})`);
        fact(card.querySelector("[data-facts]"), "Passages", found.join(", "));
      } else if (name === "done" || name === "error") {
        ended = true;
        if (name === "error") {
          state.requestId ||= data.request_id ?? "";
          fail(card, data);
        } else {
          const end = data.end === "complete" ? data.finish_reason : `${data.finish_reason}, ${data.end}`;
          card.querySelector("[data-end]").textContent = end ?? "";
        }
        finish(card, state, data);
      }
    }
    if (!ended) fail(card, { error: "The stream ended before its bill", code: "INCOMPLETE" });
  } catch (error) {
    if (error.name !== "AbortError") fail(card, {});
    else fail(card, { error: "Stopped; what was generated until then is billed", code: "STOPPED" });
  } finally {
    card.setAttribute("aria-busy", "false");
    card.querySelector("[data-copy]").dataset.copy = state.text;
    button.remove();
  }
}

form?.addEventListener("submit", async (event) => {
  const body = new FormData(form);
  if (body.has("only_code")) return; // the server shows it
  event.preventDefault();
  document.querySelectorAll("[data-played]").forEach((one) => one.remove());
  output.replaceChildren();
  const models = [["first", body.get("model")], ...(body.get("second_model") ? [["second", body.get("second_model")]] : [])];
  const submit = form.querySelector("[type=submit]");
  submit.disabled = true;
  const runs = models.map(([use, name]) => {
    const card = template.content.firstElementChild.cloneNode(true);
    card.classList.add(models.length > 1 ? "width-6" : "width-12");
    card.querySelector("h2").textContent = name;
    output.append(card);
    const own = new FormData(form);
    own.set("use", use);
    return run(own, card);
  });
  output.scrollIntoView({ block: "nearest" });
  await Promise.all(runs);
  submit.disabled = false;
});
