// The live tail: new monitor events at the top of a table, while nobody is reading it.
//
// The server's template has a sample row; its cells are filled by `textContent` only. Nothing is asked for twice: the
// stream goes on after the last id that was seen, also when the connection was lost.

import { formatTime } from "./times.js";

const MOST_WAITING = 500;
const SHORT_ID = 8;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const LEVELS = { error: "bad", warn: "warn", info: "info" };

function summaryOf(event) {
  if (event.error_message || event.error_code) return event.error_message || event.error_code;
  if (event.upstream_status !== null) return `upstream ${event.upstream_status}`;
  if (event.kind === "audit" && event.function_name) return `${event.method ?? ""} ${event.function_name}`.trim();
  return (event.detail || event.kind).replaceAll("_", " ");
}

const TEXTS = {
  function: (event) => event.function_name ?? "",
  app: (event) => event.app_id ?? "",
  status: (event) => String(event.http_status || (event.upstream_status ?? "")),
  model: (event) => [event.provider, event.model].filter(Boolean).join("/"),
  ms: (event) => event.duration_ms?.toLocaleString("en-US") ?? "",
  summary: summaryOf,
};

const FILLERS = {
  time(cell, event) {
    const time = cell.querySelector("time");
    time.dateTime = event.created_at;
    time.title = `${event.created_at.slice(0, 19).replace("T", " ")} UTC`;
    time.textContent = formatTime(event.created_at, time.dataset.form);
  },
  level(cell, event) {
    const badge = cell.querySelector(".badge");
    badge.className = `badge ${LEVELS[event.level] ?? "off"}`;
    badge.textContent = event.level;
  },
  request(cell, event) {
    const code = cell.querySelector("code");
    if (event.request_id) code.textContent = event.request_id.slice(0, SHORT_ID);
    else cell.textContent = "";
  },
};

class LiveTail extends HTMLElement {
  connectedCallback() {
    this.abort = new AbortController();
    this.waiting = [];
    this.isPaused = this.isRead = this.isLogged = this.isOpen = false;
    this.lost = 0;
    this.wait = FIRST_WAIT_MS;
    this.columns = this.dataset.columns.split(" ");
    const url = new URL(this.dataset.stream, location.origin);
    this.lastId = Number(url.searchParams.get("after_id") ?? 0);
    const { signal } = this.abort;
    this.find("pause").hidden = false;
    this.find("pause").addEventListener("click", () => this.pause(!this.isPaused), { signal });
    this.find("show").addEventListener("click", () => this.flush(), { signal });
    const area = this.parentElement;
    const read = (isRead) => () => {
      this.isRead = isRead;
      this.update();
    };
    const isRow = (target) => target instanceof Element && target.closest(".table-part") !== null;
    area.addEventListener("pointerover", (event) => event.pointerType === "mouse" && read(isRow(event.target))(), { signal });
    area.addEventListener("pointerleave", read(false), { signal });
    area.addEventListener("focusin", (event) => read(isRow(event.target))(), { signal });
    area.addEventListener("focusout", (event) => isRow(event.relatedTarget) || read(false)(), { signal });
    document.addEventListener("visibilitychange", () => this.update(), { signal });
    // A page that is kept for "back" must not hold its connection.
    addEventListener("pagehide", () => this.close(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.open(), { signal });
    this.open();
  }

  disconnectedCallback() {
    this.abort.abort();
    this.close();
  }

  find(name) {
    return this.querySelector(`[data-tail-${name}]`);
  }

  open() {
    this.close();
    const url = new URL(this.dataset.stream, location.origin);
    if (this.lastId) url.searchParams.set("after_id", String(this.lastId));
    else url.searchParams.delete("after_id");
    this.source = new EventSource(url);
    this.source.addEventListener("hello", () => {
      this.isOpen = true;
      this.wait = FIRST_WAIT_MS;
      this.update();
    });
    this.source.addEventListener("event", (message) => this.take(JSON.parse(message.data)));
    this.source.addEventListener("warn", (message) => this.warn(JSON.parse(message.data)));
    this.source.addEventListener("error", () => this.failed());
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.isOpen = false;
  }

  // The browser connects again by itself after a lost connection, but not after a refusal.
  failed() {
    if (this.isLogged) return;
    this.isOpen = false;
    this.update();
    if (this.source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
  }

  async again() {
    try {
      const reply = await fetch("/api/admin-session-check", { signal: this.abort.signal });
      if (reply.status === 401) {
        this.logOut();
        return;
      }
    } catch {
      // The gateway is away: the stream will fail in the same way, and wait longer.
    }
    if (this.isConnected) this.open();
  }

  logOut() {
    this.close();
    this.isLogged = true;
    this.update();
  }

  warn(warning) {
    if (warning.code === "UNAUTHENTICATED") this.logOut();
    if (warning.dropped) this.lost += warning.dropped;
    this.find("note").textContent = this.lost ? `${this.lost} events passed too fast to be shown here.` : "";
  }

  take(event) {
    if (document.getElementById(`event-${event.id}`) || this.waiting.some((one) => one.id === event.id)) return;
    this.lastId = Math.max(this.lastId, event.id);
    this.waiting.push(event);
    if (this.waiting.length > MOST_WAITING) this.waiting.shift();
    this.update();
  }

  get isHeld() {
    return this.isPaused || this.isRead || document.hidden || document.getElementById("drawer")?.open;
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.find("pause").querySelector("span").textContent = isPaused ? "Resume" : "Pause";
    this.find("pause").setAttribute("aria-pressed", String(isPaused));
    this.update();
  }

  update() {
    if (!this.isHeld) this.flush();
    const [state, text] = this.state();
    const badge = this.find("state");
    badge.className = `badge ${state}`;
    if (badge.textContent !== text) badge.textContent = text;
    const show = this.find("show");
    const { length } = this.waiting;
    show.hidden = length === 0;
    show.textContent = `Show ${length >= MOST_WAITING ? `the last ${length}` : length} new`;
    this.find("pause").hidden = this.isLogged;
    this.find("refresh").hidden = this.isOpen;
  }

  state() {
    if (this.isLogged) return ["bad", "Ended: the login is over. Refresh to log in again."];
    if (!this.isOpen) return this.wait > FIRST_WAIT_MS || this.lastOpen ? ["warn", "Reconnecting …"] : ["off", "Connecting …"];
    this.lastOpen = true;
    if (this.isPaused) return ["warn", "Paused"];
    if (this.isHeld) return ["info", "Paused while you read"];
    return ["good", "Live"];
  }

  // The rows that wait, by id; late ones find their place. The oldest ones leave.
  flush() {
    if (!this.waiting.length) return;
    const body = this.body();
    for (const event of this.waiting.sort((a, b) => a.id - b.id)) {
      const row = this.rowOf(event);
      const below = [...body.rows].find((one) => Number(one.id.slice("event-".length)) < event.id);
      body.insertBefore(row, below ?? null);
    }
    this.waiting = [];
    const most = Number(this.dataset.most);
    if (body.rows.length > most) {
      while (body.rows.length > most) body.lastElementChild.remove();
      this.continueAt(body.lastElementChild.id.slice("event-".length));
    }
    this.update();
  }

  // The next page goes on where the table ends now.
  continueAt(id) {
    const next = document.getElementById(`${this.dataset.table}-next`);
    if (!next) return;
    const url = new URL(next.href);
    url.searchParams.set("cursor", id);
    next.setAttribute("href", url.pathname + url.search);
    next.setAttribute("hx-get", url.pathname + url.search);
  }

  get sample() {
    return this.querySelector("template").content;
  }

  // The body of the table; an empty list has none yet.
  body() {
    const section = document.getElementById(this.dataset.table);
    if (!section.querySelector("tbody")) {
      section.replaceChildren(...this.sample.cloneNode(true).querySelector("section").children);
      section.querySelector("tbody").replaceChildren();
    }
    return section.querySelector("tbody");
  }

  rowOf(event) {
    const row = this.sample.querySelector("tbody tr").cloneNode(true);
    const href = row.dataset.href.replace(/[0-9]+$/, String(event.id));
    row.id = `event-${event.id}`;
    row.dataset.href = href;
    row.classList.add("arrived");
    row.querySelector(".row-link").setAttribute("href", href);
    this.columns.forEach((name, at) => {
      const cell = row.cells[at];
      if (FILLERS[name]) FILLERS[name](cell, event);
      else cell.textContent = TEXTS[name](event);
    });
    return row;
  }
}

customElements.define("live-tail", LiveTail);
