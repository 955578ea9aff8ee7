// The cursor of charts: a line and a box with the values at the pointer, or at the arrow keys.
// Texts come from the attributes that the server wrote, and go into the page as text only.

const SVG = "http://www.w3.org/2000/svg";
const cursors = new WeakMap();

function htmlElement(name, className, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

function svgElement(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

class Cursor {
  constructor(drawing) {
    this.drawing = drawing;
    this.plot = drawing.querySelector(".chart-plot");
    this.points = [...drawing.querySelectorAll(".point")];
    this.series = JSON.parse(drawing.dataset.series);
    this.top = Number(drawing.dataset.top);
    this.bottom = this.top + Number(drawing.dataset.height);
    this.index = null;
    this.mark = svgElement("g", { "aria-hidden": "true" });
    this.box = htmlElement("div", "chart-tip");
    this.box.hidden = true;
    this.live = htmlElement("div", "chart-live");
    this.live.setAttribute("aria-live", "polite");
    this.plot.append(this.mark);
    drawing.append(this.box, this.live);
    // The summary stays as the label; as a title it would open a second box over this one.
    this.plot.querySelector("title")?.remove();
  }

  values() {
    const point = this.points[this.index];
    const texts = JSON.parse(point.dataset.values);
    const heights = (point.dataset.heights ?? "").split(" ");
    return this.series.map((series, position) => ({ ...series, text: texts[position], height: heights[position] }));
  }

  show(index, { speak = false } = {}) {
    if (!this.points.length) return;
    const next = Math.min(Math.max(index, 0), this.points.length - 1);
    if (next !== this.index || this.box.hidden) {
      this.index = next;
      this.draw();
    }
    if (speak) this.live.textContent = this.words();
  }

  hide() {
    this.box.hidden = true;
    this.mark.replaceChildren();
    this.live.textContent = "";
  }

  words() {
    const { label, total } = this.points[this.index].dataset;
    const parts = this.values().filter(({ text }) => text !== "–").map(({ name, text }) => `${name} ${text}`);
    return [label, ...(parts.length ? parts : ["no data"]), ...(total ? [`total ${total}`] : [])].join(", ");
  }

  draw() {
    const { label, total } = this.points[this.index].dataset;
    const count = this.points.length;
    const x = `${((this.index + 0.5) / count) * 100}%`;
    const values = this.values();
    this.mark.replaceChildren(
      this.drawing.dataset.chart === "bars" && count <= 120
        ? svgElement("rect", {
          class: "cursor-band", x: `${(this.index / count) * 100}%`, width: `${100 / count}%`,
          y: this.top, height: this.bottom - this.top,
        })
        : svgElement("line", { class: "cursor", x1: x, x2: x, y1: this.top, y2: this.bottom }),
      ...values.filter(({ height }) => height)
        .map(({ style, height }) => svgElement("circle", { class: style, cx: x, cy: height, r: 4 })),
    );
    const rows = values.map(({ name, style, text }) => this.row(name, text, style));
    if (total) rows.push(this.row("Total", total, ""));
    this.box.replaceChildren(htmlElement("div", "chart-tip-title", label), ...rows);
    if (total) rows.at(-1).classList.add("chart-tip-total");
    this.box.hidden = false;
    this.place();
  }

  row(name, text, style) {
    const row = htmlElement("div", "chart-tip-row");
    row.append(
      htmlElement("span", style ? `chart-swatch ${style}` : ""),
      htmlElement("span", "", name),
      htmlElement("span", "", text),
    );
    return row;
  }

  // Beside the cursor, on the side that has the room, and never outside of the drawing.
  place() {
    const drawing = this.drawing.getBoundingClientRect();
    const plot = this.plot.getBoundingClientRect();
    const box = this.box.getBoundingClientRect();
    const at = plot.left - drawing.left + plot.width * ((this.index + 0.5) / this.points.length);
    const left = at + 12 + box.width <= drawing.width ? at + 12 : at - 12 - box.width;
    this.box.style.left = `${Math.max(0, Math.min(left, drawing.width - box.width))}px`;
    this.box.style.top = `${this.top}px`;
  }

  indexAt(event) {
    const plot = this.plot.getBoundingClientRect();
    return Math.floor(((event.clientX - plot.left) / plot.width) * this.points.length);
  }
}

const STEPS = {
  ArrowLeft: (index) => index - 1,
  ArrowRight: (index) => index + 1,
  PageUp: (index, count) => index - Math.max(1, Math.round(count / 10)),
  PageDown: (index, count) => index + Math.max(1, Math.round(count / 10)),
  Home: () => 0,
  End: (_, count) => count - 1,
};

function keyPressed(cursor, event) {
  if (event.key === "Escape" && !cursor.box.hidden) {
    cursor.hide();
    event.stopPropagation(); // it closes this box, and not also the drawer around it
    return;
  }
  const step = STEPS[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const count = cursor.points.length;
  // The first press stands on an end: the last value to the left, the first one to the right.
  const from = cursor.index ?? (event.key === "ArrowLeft" ? count : -1);
  cursor.show(step(from, count), { speak: true });
}

function start(drawing) {
  if (cursors.has(drawing) || !drawing.querySelector(".point")) return;
  const cursor = new Cursor(drawing);
  cursors.set(drawing, cursor);
  drawing.tabIndex = 0;
  drawing.setAttribute("role", "group");
  drawing.setAttribute("aria-label", `${drawing.dataset.title}: the arrow keys read its values`);
  drawing.addEventListener("pointermove", (event) => cursor.show(cursor.indexAt(event)));
  drawing.addEventListener("pointerdown", (event) => cursor.show(cursor.indexAt(event)));
  drawing.addEventListener("pointerleave", () => cursor.hide());
  drawing.addEventListener("blur", () => cursor.hide());
  drawing.addEventListener("keydown", (event) => keyPressed(cursor, event));
}

function startAll(root) {
  if (!(root instanceof Element)) return;
  if (root.matches(".chart-drawing")) start(root);
  root.querySelectorAll(".chart-drawing").forEach(start);
}

startAll(document.body);
// Charts of parts that a filter replaced.
new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(startAll)))
  .observe(document.body, { childList: true, subtree: true });
