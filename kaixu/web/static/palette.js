// Ctrl K: finds customers, keys, requests (the server searches) and tabs (of the navigation).

const PAUSE_MS = 150;

let dialog;
let input;
let list;
let note;
let address;
let timer;
let asked;

const options = () => [...list.querySelectorAll("[role=option]")];

function tabs(query) {
  const wanted = query.toLowerCase();
  const links = [...document.querySelectorAll("#navigation li a, .tabs li a")];
  return links
    .map((link) => ({ group: "Go to", title: link.querySelector("span").textContent, detail: "", href: link.href }))
    .filter((tab) => tab.title.toLowerCase().includes(wanted));
}

function optionOf(result, at) {
  const option = document.createElement("a");
  option.id = `palette-${at}`;
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", "false");
  option.tabIndex = -1;
  option.href = result.href;
  const title = document.createElement("span");
  title.textContent = result.title;
  option.append(title);
  if (result.detail) {
    const detail = document.createElement("small");
    detail.textContent = result.detail;
    option.append(detail);
  }
  return option;
}

function show(results) {
  const groups = new Map();
  for (const result of results) {
    if (new URL(result.href, location.href).origin !== location.origin) continue;
    if (!groups.has(result.group)) groups.set(result.group, []);
    groups.get(result.group).push(result);
  }
  let at = 0;
  const parts = [];
  for (const [name, members] of groups) {
    const group = document.createElement("div");
    const heading = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", name);
    heading.className = "group";
    heading.setAttribute("aria-hidden", "true");
    heading.textContent = name;
    group.append(heading, ...members.map((result) => optionOf(result, (at += 1))));
    parts.push(group);
  }
  list.replaceChildren(...parts);
  input.setAttribute("aria-expanded", String(at > 0));
  choose(0);
}

function choose(at) {
  const all = options();
  input.removeAttribute("aria-activedescendant");
  all.forEach((option, index) => option.setAttribute("aria-selected", String(index === at)));
  if (!all[at]) return;
  input.setAttribute("aria-activedescendant", all[at].id);
  all[at].scrollIntoView({ block: "nearest" });
}

async function search() {
  const query = input.value.trim();
  const local = tabs(query);
  asked?.abort();
  if (!query) {
    note.textContent = "";
    show(local);
    return;
  }
  asked = new AbortController();
  const { signal } = asked;
  try {
    const reply = await fetch(`${address}?q=${encodeURIComponent(query)}`, {
      signal,
      headers: { accept: "application/json" },
    });
    if (!reply.ok) throw new Error(String(reply.status));
    const { results } = await reply.json();
    show([...results, ...local]);
    const count = options().length;
    note.textContent = count ? "" : `Nothing found for “${query}”.`;
  } catch (error) {
    if (error.name === "AbortError") return;
    show(local);
    note.textContent = "The search does not answer now.";
  }
}

function open() {
  if (dialog.open) return;
  for (const other of document.querySelectorAll("dialog[open]")) other.close();
  input.value = "";
  note.textContent = "";
  show(tabs(""));
  dialog.showModal();
  input.focus();
}

export function startPalette() {
  dialog = document.getElementById("palette");
  const button = document.querySelector("[data-palette]");
  if (!dialog || !button) return;
  input = dialog.querySelector("input");
  list = document.getElementById("palette-list");
  note = dialog.querySelector(".palette-note");
  address = button.dataset.search;
  button.setAttribute("aria-haspopup", "dialog");
  button.addEventListener("click", (event) => {
    event.preventDefault();
    open();
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    }
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown") choose((at + 1) % all.length);
    else if (event.key === "ArrowUp") choose((at - 1 + all.length) % all.length);
    else if (event.key === "Enter") all[at]?.click();
    else return;
    event.preventDefault();
  });
}
