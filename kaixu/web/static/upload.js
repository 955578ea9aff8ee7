// Forms with a file: a file can be dropped, and how far it was sent is shown. Without this the browser sends the form.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

function sizeOf(bytes) {
  let [value, at] = [bytes, 0];
  while (value >= 999.5 && at < UNITS.length - 1) [value, at] = [value / 1000, at + 1];
  return `${value.toFixed(at === 0 ? 0 : 1)} ${UNITS[at]}`;
}

const fieldOf = (form) => form.querySelector("input[type=file]");
const tell = (form, text) => (form.querySelector("[data-told]").textContent = text);

// What is wrong with the chosen file; nothing for none.
function problemOf(form) {
  const [file] = fieldOf(form).files;
  const most = Number(form.dataset.most || Infinity);
  return file && file.size > most ? `The file has ${sizeOf(file.size)}; at most ${sizeOf(most)} are allowed.` : "";
}

function check(form) {
  const [file] = fieldOf(form).files;
  const problem = problemOf(form);
  tell(form, problem || (file ? `${file.name}, ${sizeOf(file.size)}` : ""));
  return !problem;
}

// What the operation has answered: the page after the change, a page that says more, or a file.
function show(request, enhance) {
  if (new URL(request.responseURL).pathname !== new URL(request.sentTo).pathname) {
    location.assign(request.responseURL);
  } else if (request.responseType === "document") {
    const [here, there] = [document.getElementById("content"), request.response?.getElementById("content")];
    if (!there) return location.reload();
    document.title = request.response.title;
    here.replaceWith(document.adoptNode(there));
    enhance(document);
    scrollTo(0, 0);
    document.querySelector(".problems")?.focus();
  } else {
    const link = document.createElement("a");
    const name = /filename="([^"]*)"/.exec(request.getResponseHeader("content-disposition") ?? "");
    link.download = name?.[1] ?? "";
    link.href = URL.createObjectURL(request.response);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

function send(form, enhance) {
  const part = form.querySelector(".upload-progress");
  const [bar, words, stop] = ["progress", "[data-words]", "[data-stop]"].map((one) => part.querySelector(one));
  const submit = form.querySelector("[type=submit]");
  const request = new XMLHttpRequest();
  request.sentTo = form.action;
  const leaving = (event) => event.preventDefault();
  const ended = (text) => {
    removeEventListener("beforeunload", leaving);
    part.hidden = true;
    submit.disabled = false;
    tell(form, text);
  };
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.max = total;
    bar.value = loaded;
    words.textContent = `${sizeOf(loaded)} of ${sizeOf(total)}`;
  });
  request.upload.addEventListener("load", () => {
    bar.removeAttribute("value");
    words.textContent = "sent; waiting for the answer";
  });
  request.addEventListener("readystatechange", () => {
    if (request.readyState !== XMLHttpRequest.HEADERS_RECEIVED) return;
    const isPage = request.getResponseHeader("content-type")?.startsWith("text/html");
    request.responseType = isPage ? "document" : "blob";
  });
  request.addEventListener("load", () => {
    ended("");
    show(request, enhance);
  });
  request.addEventListener("error", () => ended("The gateway cannot be reached, or does not take this file. Try again."));
  request.addEventListener("abort", () => ended("Stopped. Nothing was stored."));
  stop.addEventListener("click", () => request.abort(), { once: true });
  addEventListener("beforeunload", leaving);
  bar.removeAttribute("value");
  words.textContent = "";
  tell(form, "");
  submit.disabled = true;
  part.hidden = false;
  stop.focus();
  request.open("POST", form.action);
  request.send(new FormData(form));
}

const zoneOf = (event) => event.target.closest?.("form[data-upload]");
const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
let isStarted = false;

export function start(enhance) {
  if (isStarted) return;
  isStarted = true;
  document.addEventListener("change", (event) => {
    const form = zoneOf(event);
    if (form && event.target.type === "file") check(form);
  });
  document.addEventListener("submit", (event) => {
    const form = zoneOf(event);
    if (!form) return;
    event.preventDefault();
    if (check(form)) send(form, enhance);
    else fieldOf(form).focus();
  });
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      const form = zoneOf(event);
      if (!form || !hasFile(event)) return;
      event.preventDefault();
      form.dataset.over = "true";
    });
  }
  document.addEventListener("dragleave", (event) => {
    const form = zoneOf(event);
    if (form && !form.contains(event.relatedTarget)) delete form.dataset.over;
  });
  document.addEventListener("drop", (event) => {
    const form = zoneOf(event);
    if (!form || !hasFile(event)) return;
    event.preventDefault();
    delete form.dataset.over;
    const one = new DataTransfer();
    if (event.dataTransfer.files.length > 0) one.items.add(event.dataTransfer.files[0]);
    fieldOf(form).files = one.files;
    if (event.dataTransfer.files.length > 1) tell(form, "One file at a time: choose one.");
    else check(form);
    fieldOf(form).focus();
  });
}
