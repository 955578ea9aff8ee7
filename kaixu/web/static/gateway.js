// Starts what the pages' scripts do. Each page works without them.

import "./chart.js";
import { startDrawer } from "./drawer.js";
import { startKeys } from "./keys.js";
import { startPalette } from "./palette.js";
import { startSwaps } from "./swaps.js";
import { showTimes, startTimes } from "./times.js";
import { toast } from "./toast.js";

// Copy buttons.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    toast("Copied");
  } catch {
    toast("The browser does not allow copying here. Select the text and copy it.");
  }
});

// A secret that is shown once: leaving asks, until it is stored.
const isSecretOpen = () => document.querySelector("[data-secret] [data-stored]:not(:checked)") !== null;
let isSubmitting = false;
addEventListener("submit", () => (isSubmitting = true));

// A double click sends a change once. The mark goes after a while, for whoever has stopped the page from loading.
const SENT_MS = 5000;
addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "true";
  setTimeout(() => delete form.dataset.sent, SENT_MS);
});
addEventListener("beforeunload", (event) => {
  if (isSecretOpen() && !isSubmitting) event.preventDefault();
});

// The theme, kept in a cookie that the server reads: pages come in it at once.
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.querySelector('meta[name="color-scheme"]').content = theme === "system" ? "light dark" : theme;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `kaixu-theme=${theme}; path=/; max-age=31536000; samesite=lax${secure}`;
  for (const button of document.querySelectorAll("[data-theme-switch] [name=theme]")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}

function startThemeSwitch() {
  const form = document.querySelector("[data-theme-switch]");
  if (!form) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    setTheme(event.submitter.value);
  });
}

// What can be undone for some seconds: then the buttons go.
function startUndo(root) {
  for (const notice of root.querySelectorAll("[data-ends-after]")) {
    const seconds = Number(notice.dataset.endsAfter);
    notice.removeAttribute("data-ends-after");
    setTimeout(() => notice.querySelector(".actions")?.remove(), seconds * 1000);
  }
}

// A scroll container takes the focus only where it scrolls.
function markScrollers(root) {
  for (const scroller of root.querySelectorAll(".scroll")) {
    if (scroller.scrollWidth > scroller.clientWidth || scroller.scrollHeight > scroller.clientHeight) {
      scroller.tabIndex = 0;
    } else {
      scroller.removeAttribute("tabindex");
    }
  }
}

// Forms with a file, which few pages have.
async function startUploads(root) {
  if (!root.querySelector("form[data-upload]")) return;
  (await import("./upload.js")).start(enhance);
}

export function enhance(root) {
  showTimes(root);
  startUploads(root);
  startUndo(root);
  markScrollers(root);
}

startTimes();
startThemeSwitch();
startPalette();
startDrawer();
startKeys();
startSwaps(enhance);
enhance(document);
addEventListener("resize", () => markScrollers(document));
document.querySelector(".problems")?.focus();
document.body.dataset.ready = "true";
