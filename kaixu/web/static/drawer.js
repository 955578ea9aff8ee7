// Pages that open beside the one at hand: links and rows with `data-drawer`.

let opener = null;

// Counts what was opened or closed: a page that arrives after the drawer was closed does not open it again.
let turn = 0;

const drawer = () => document.getElementById("drawer");
const isPlainClick = (event) => event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);

const REFERENCES = ["for", "list", "popovertarget", "aria-labelledby", "aria-describedby", "aria-controls"];

// The page and the drawer may have the same ids: those in the drawer get a prefix. What is read again keeps its own.
function ownIds(content) {
  const ids = new Set();
  for (const element of content.querySelectorAll("[id]:not(.progress, .progress *)")) {
    ids.add(element.id);
    element.id = `drawer-${element.id}`;
  }
  const own = (value) => value.split(" ").map((id) => (ids.has(id) ? `drawer-${id}` : id)).join(" ");
  for (const name of REFERENCES) {
    for (const element of content.querySelectorAll(`[${name}]`)) element.setAttribute(name, own(element.getAttribute(name)));
  }
  for (const link of content.querySelectorAll('a[href^="#"]')) link.setAttribute("href", `#${own(link.hash.slice(1))}`);
}

export async function openDrawer(href, from) {
  const dialog = drawer();
  const own = ++turn;
  if (!dialog.open) opener = from ?? document.activeElement;
  document.getElementById("drawer-page").href = href;
  await window.htmx.ajax("GET", href, {
    target: "#drawer-body",
    select: "#content",
    swap: "innerHTML strip:false",
    headers: { "HX-Target": "div#drawer-body" },
  });
  const content = dialog.querySelector("#drawer-body > #content");
  if (!content) return;
  if (own !== turn) {
    if (!dialog.open) content.remove();
    return;
  }
  content.removeAttribute("id");
  ownIds(content);
  const title = document.getElementById("drawer-title");
  title.textContent = content.dataset.title;
  document.getElementById("drawer-body").scrollTop = 0;
  if (!dialog.open) dialog.showModal();
  title.focus();
}

export function openRow(row) {
  const { href, drawer: inDrawer } = row.dataset;
  if (!href) return;
  if (inDrawer === undefined || row.closest("#drawer")) location.assign(href);
  else openDrawer(href, row.querySelector(".row-link") ?? row);
}

export function startDrawer() {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) {
      event.target.closest("dialog").close();
      return;
    }
    if (event.target.matches("dialog")) event.target.close(); // its backdrop
    if (!isPlainClick(event) || event.defaultPrevented) return;
    const link = event.target.closest("a[data-drawer]");
    if (link && !link.closest("#drawer")) {
      event.preventDefault();
      openDrawer(link.href, link);
      return;
    }
    const row = event.target.closest("tr[data-href]");
    if (!row || event.target.closest("a, button, input, select, label, summary") || String(getSelection())) return;
    openRow(row);
  });
  drawer().addEventListener("close", () => {
    turn += 1;
    document.getElementById("drawer-body").replaceChildren();
    if (opener?.isConnected) opener.focus();
  });
}
