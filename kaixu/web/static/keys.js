// Keys of the pages: `/` searches, `j` and `k` move over rows, Enter opens one, `?` lists the keys.

import { openRow } from "./drawer.js";

const isTyping = (target) => target.closest("input, select, textarea, [contenteditable]") !== null;

function rows() {
  return [...document.querySelectorAll("#content > .grid tbody tr")].filter((row) => row.closest("[role=table]"));
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("at"));
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  all[at]?.classList.remove("at");
  next.classList.add("at");
  next.scrollIntoView({ block: "nearest" });
  if (document.getElementById("drawer").open) {
    openRow(next);
    return;
  }
  const link = next.querySelector(".row-link, a, button");
  if (link) link.focus({ preventScroll: true });
  else {
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
  }
}

function showKeys() {
  const dialog = document.getElementById("shortcuts");
  if (!dialog.open) dialog.showModal();
}

const ACTIONS = {
  j: () => move(1),
  k: () => move(-1),
  "?": showKeys,
  "/": () => (document.querySelector("#content input[type=search]") ?? document.querySelector("[data-palette]"))?.focus(),
};

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const isOpen = document.querySelector("dialog[open]:not(#drawer)") !== null;
    if (isOpen) return;
    if (event.key === "Enter") {
      const row = event.target.matches("tr.at") ? event.target : null;
      if (row) openRow(row);
      return;
    }
    const action = ACTIONS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  // Where the pointer or the focus is, `j` and `k` go on.
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("#content > .grid tbody tr");
    if (!row || row.classList.contains("at")) return;
    for (const other of rows()) other.classList.toggle("at", other === row);
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) showKeys();
  });
}
