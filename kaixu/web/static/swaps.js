// What surrounds htmx's replacing of a part of the page: filters that apply at once, errors, the focus, and marks on
// the body that tell when it is done (`data-busy`, `data-settled`).

import { toast } from "./toast.js";

const TYPED = ["text", "search", "email", "url", "number"];
const PAUSE_MS = 350;

const valuesOf = (form) => new URLSearchParams(new FormData(form)).toString();

function startFilters() {
  let timer;
  const apply = (form) => {
    clearTimeout(timer);
    const values = valuesOf(form);
    if (form.dataset.applied === values) return;
    form.dataset.applied = values;
    form.requestSubmit();
  };
  const formOf = (event) => event.target.closest?.("form[data-filter]:not(#drawer *)");
  document.addEventListener("focusin", (event) => {
    const form = formOf(event);
    if (form) form.dataset.applied ??= valuesOf(form);
  });
  document.addEventListener("change", (event) => {
    const form = formOf(event);
    if (form) apply(form);
  });
  document.addEventListener("input", (event) => {
    const form = formOf(event);
    if (!form || event.target.type !== "search") return;
    clearTimeout(timer);
    timer = setTimeout(() => form.isConnected && apply(form), PAUSE_MS);
  });
}

export function startSwaps(enhance) {
  startFilters();
  let running = 0;
  let settled = 0;

  // In the drawer links and filters are plain ones: they lead to the page. What is read again stays.
  document.addEventListener("htmx:before:init", (event) => {
    if (event.target.closest?.("#drawer") && !event.target.matches(".progress")) event.preventDefault();
  });
  document.addEventListener("htmx:before:request", () => {
    running += 1;
    document.body.dataset.busy = "true";
  });
  document.addEventListener("htmx:finally:request", () => {
    running = Math.max(0, running - 1);
    if (running === 0) delete document.body.dataset.busy;
    document.body.dataset.settled = String((settled += 1));
  });
  document.addEventListener("htmx:error", () => toast("The gateway cannot be reached. Try again."));

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail;
    const isDrawer = ctx.target?.id === "drawer-body";
    const main = tasks.find((task) => task.type === "main");
    const isFound = main?.fragment.childElementCount > 0;
    const { raw, status } = ctx.response;
    if (raw.redirected && new URL(raw.url).pathname !== new URL(ctx.request.action, location.href).pathname) {
      event.preventDefault(); // to the login, most likely
      location.assign(raw.url);
      return;
    }
    if (status < 400 && isFound) return;
    if (isDrawer && isFound) return; // an error page says what is wrong there
    event.preventDefault();
    if (ctx.sourceElement.matches?.(".progress")) {
      ctx.sourceElement.removeAttribute("hx-get");
      window.htmx.process(ctx.sourceElement, true);
      toast("The progress cannot be read now. Load the page again.");
    } else if ([429, 502, 503, 504].includes(status)) {
      toast(`This could not be loaded (${status}). Try again in a moment.`);
    } else {
      location.assign(isDrawer ? document.getElementById("drawer-page").href : ctx.request.action);
    }
  });

  // While someone types, the address changes in place: "back" leaves the search at once.
  document.addEventListener("htmx:before:history:update", (event) => {
    const { history: change, sourceElement } = event.detail;
    const focused = document.activeElement;
    if (sourceElement?.contains?.(focused) && TYPED.includes(focused.type)) change.type = "replace";
  });
  document.addEventListener("htmx:after:settle", (event) => {
    const { target } = event;
    if (!(target instanceof Element)) return;
    enhance(target.parentElement ?? target);
    const title = target.closest("#content")?.dataset.title;
    if (title) document.title = document.title.replace(/^.*(?= · )/, title);
    if (document.activeElement === document.body && target.matches(".table-part")) target.focus({ preventScroll: true });
  });
}
