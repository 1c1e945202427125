/** A chart over time: figure, axes, lines or stacked areas, marks, and a cursor for mouse, touch and keys. */

import { clock, isNumber, minute } from "./format.js";
import { element, setNumber, setText, shape } from "./dom.js";
import { areaPath, linearScale, linePath, logScale, percentScale, runs, timeTicks } from "./scale.js";

const margin = { top: 20, right: 10, bottom: 20, left: 44, leftOfLog: 56 };
const markRowHeight = 13;
const characterWidth = 6.8;
const standard = { scale: "linear", least: 10, duration: 300_000, step: 60_000, gap: 2_500 };

const swatch = () => element("i", { "aria-hidden": "true" });

export class Chart {
  #samples = [];
  #marks = [];
  #note = null;
  #cursor = null;

  /**
   * `options`: title, unit, series [{key, label, tone, style: "area" | "line" | "dashed", onlyIfAny}], scale ("linear",
   * "percent", "log"), least (smallest top of the y axis), write(value), tick(value), total(sample) (the big figure),
   * duration, step of the time axis and gap in milliseconds, onCursor(at).
   */
  constructor(figure, options) {
    this.figure = figure;
    this.options = { ...standard, tick: options.write, ...options };
    this.#build();
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** Shows new samples and marks, with an optional note in the middle of the chart. */
  update(samples, marks, note = null) {
    this.#samples = samples;
    this.#marks = marks;
    this.#note = note;
    this.draw();
  }

  /** Moves the cursor line to a time; null hides it. */
  showCursor(at) {
    this.#cursor = at;
    this.#placeCursor();
    if (at === null) this.tooltip.hidden = true;
  }

  // Building

  #build() {
    const { title, unit, series } = this.options;
    this.value = element("strong", { class: "value" }, "–");
    this.legend = element("ul", { class: "legend" }, ...series.map((one) => this.#legendItem(one)));
    this.legend.hidden = series.length === 1;
    this.svg = shape("svg", { role: "img", tabindex: 0, "aria-label": `${title}: no data yet` });
    this.grid = shape("g", { class: "axes" });
    this.lines = shape("g", { class: "lines" });
    this.notes = shape("g", { class: "marks" });
    this.cursorLine = shape("line", { class: "cursor", visibility: "hidden" });
    this.svg.append(this.grid, this.lines, this.notes, this.cursorLine);
    this.tooltip = element("div", { class: "tooltip", hidden: "" });
    this.figure.append(
      element("figcaption", {}, element("span", { class: "title" }, title), element("span", { class: "unit" }, unit),
        this.value),
      this.legend, this.svg, this.tooltip);
  }

  #legendItem(one) {
    const value = element("b", {}, "–");
    const item = element("li", { class: `tone-${one.tone} ${one.style}` }, swatch(), `${one.label} `, value);
    one.legend = { item, value };
    return item;
  }

  #listen() {
    const follow = (event) => this.#pointAt(event);
    this.svg.addEventListener("pointermove", follow);
    this.svg.addEventListener("pointerdown", follow);
    this.svg.addEventListener("pointerleave", () => this.options.onCursor(null));
    this.svg.addEventListener("blur", () => this.options.onCursor(null));
    this.svg.addEventListener("keydown", (event) => this.#key(event));
  }

  // Drawing

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width === 0) return;
    const last = this.#samples.at(-1);
    this.#describe(last);
    this.end = last?.at ?? Date.now();
    this.visible = this.#samples.filter((sample) => sample.at >= this.end - this.options.duration);
    const layers = this.#layers();
    this.#frame(width, height, layers);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#drawAxes();
    this.lines.replaceChildren(...this.#outlines(layers));
    this.notes.replaceChildren(...this.#markShapes());
    this.figure.dataset.points = this.visible.filter((sample) => this.hasValue(sample)).length;
    this.#placeCursor();
  }

  /** Whether a sample has a value for this chart. */
  hasValue(sample) {
    return this.options.series.some((one) => isNumber(sample[one.key]));
  }

  /** The points of each series; areas are stacked. */
  #layers() {
    const heights = new Map();
    return this.options.series.map((one) => {
      const points = this.visible.map((sample) => {
        const value = sample[one.key];
        if (one.style !== "area" || !isNumber(value)) return { at: sample.at, value };
        const base = heights.get(sample) ?? 0;
        heights.set(sample, base + value);
        return { at: sample.at, value: base + value, base };
      });
      const isAny = this.visible.some((sample) => isNumber(sample[one.key]) && sample[one.key] !== 0);
      return { one, points, isAny };
    }).filter((layer, index) => layer.isAny || (index === 0 && !layer.one.onlyIfAny));
  }

  #frame(width, height, layers) {
    const { scale, least, duration } = this.options;
    const values = layers.flatMap((layer) => layer.points.map((point) => point.value)).filter(isNumber);
    const left = scale === "log" ? margin.leftOfLog : margin.left;
    const [right, top, bottom] = [width - margin.right, margin.top, height - margin.bottom];
    const linear = () => linearScale(values, least, height > 190 ? 4 : 3);
    const scales = { log: logScale, percent: percentScale, linear };
    this.plot = { left, right, top, bottom };
    this.axis = scales[scale](values);
    this.x = (at) => right - ((this.end - at) / duration) * (right - left);
    this.y = (value) => bottom - this.axis.position(value) * (bottom - top);
  }

  #drawAxes() {
    const { left, right, bottom } = this.plot;
    const rows = this.axis.ticks.map((tick) => {
      const [y, kind] = [this.y(tick), tick === this.axis.base ? "base" : ""];
      return shape("g", {},
        shape("line", { class: kind, x1: left, x2: right, y1: y, y2: y }),
        shape("text", { class: "y", x: left - 6, y: y + 4 }, this.options.tick(tick)));
    });
    const step = this.options.step * (right - left > 230 ? 1 : 2);
    const isShort = step < 60_000;
    const times = timeTicks(this.end - this.options.duration, this.end, step)
      .filter((at) => this.x(at) > left + 12 && this.x(at) < right - (isShort ? 22 : 12));
    const write = isShort ? clock : minute;
    const columns = times.map((at) => shape("text", { class: "x", x: this.x(at), y: bottom + 15 }, write(at)));
    this.grid.replaceChildren(...rows, ...columns, ...this.#noteShapes());
  }

  #noteShapes() {
    if (this.#note === null) return [];
    const { left, right, top, bottom } = this.plot;
    return [shape("text", { class: "note", x: (left + right) / 2, y: (top + bottom) / 2 + 4 }, this.#note)];
  }

  /** Areas first, then lines from the top of the stack down, so that an empty layer does not hide the one below. */
  #outlines(layers) {
    const pieces = layers.map(({ one, points }) => ({ one, parts: runs(points, this.options.gap) }));
    const paint = (one, part, kind) => shape("path", {
      class: `${kind} tone-${one.tone} ${one.style}`, d: (kind === "fill" ? areaPath : linePath)(part, this.x, this.y),
    });
    const paintAll = (some, kind) => some.flatMap(({ one, parts }) => parts.map((part) => paint(one, part, kind)));
    const areas = pieces.filter(({ one }) => one.style === "area");
    return [...paintAll(areas, "fill"), ...paintAll(pieces.toReversed(), "stroke")];
  }

  /** Draws the marks; a label that would overlap another one moves to a lower row. */
  #markShapes() {
    const { left, right, top, bottom } = this.plot;
    const rowEnds = [];
    return this.#marks.filter((mark) => this.x(mark.at) >= left).map((mark) => {
      const x = this.x(mark.at);
      const width = mark.label.length * characterWidth;
      const start = x + 4 + width <= right + 8 ? x + 4 : Math.max(2, x - 4 - width);
      const free = rowEnds.findIndex((rowEnd) => rowEnd < start);
      const row = free < 0 ? rowEnds.length : free;
      rowEnds[row] = start + width + 8;
      return shape("g", {},
        shape("line", { x1: x, x2: x, y1: top - 8, y2: bottom }),
        shape("text", { x: start, y: top - 8 + row * markRowHeight }, mark.label));
    });
  }

  // Values as text

  #describe(last) {
    const { title, unit, series, write, total } = this.options;
    const value = last ? total(last) : null;
    setText(this.value, write(value));
    setNumber(this.figure, "value", value);
    for (const one of series) this.#describeSeries(one, last);
    const parts = series.filter((one) => series.length > 1 && !one.legend.item.hidden)
      .map((one) => `${one.label} ${write(last?.[one.key])}`);
    const now = isNumber(value) ? [`${title}, ${unit}: ${write(value)}`, ...parts].join("; ") : `${title}: no data now`;
    this.svg.setAttribute("aria-label", `${now}. Left and right arrow keys show earlier seconds.`);
  }

  #describeSeries(one, last) {
    const value = last?.[one.key];
    setText(one.legend.value, this.options.write(value));
    setNumber(this.figure, one.key, value);
    one.legend.item.classList.toggle("none", !value);
    one.legend.item.hidden = Boolean(one.onlyIfAny) && !this.#samples.some((sample) => sample[one.key] > 0);
  }

  // The cursor

  #pointAt(event) {
    if (!this.plot || this.visible.length === 0) return;
    const { left: edge } = this.svg.getBoundingClientRect();
    const { left, right } = this.plot;
    const at = this.end - ((right - (event.clientX - edge)) / (right - left)) * this.options.duration;
    this.#choose(this.#nearest(at), false);
  }

  #nearest(at) {
    return this.visible.reduce((best, sample) => (Math.abs(sample.at - at) < Math.abs(best.at - at) ? sample : best));
  }

  #key(event) {
    if (event.key === "Escape") this.options.onCursor(null);
    if (!this.visible?.length) return;
    const last = this.visible.length - 1;
    const now = this.#cursor === null ? last + 1 : this.visible.indexOf(this.#nearest(this.#cursor));
    const targets = { ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last };
    const next = targets[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.#choose(this.visible[next], true);
  }

  #choose(sample, isByKey) {
    this.options.onCursor(sample.at);
    // Screen readers announce keyboard moves only: mouse moves are too frequent.
    this.tooltip.setAttribute("aria-live", isByKey ? "polite" : "off");
    this.tooltip.hidden = false;
    this.#placeCursor();
  }

  #placeCursor() {
    const isShown = this.#cursor !== null && this.visible?.length > 0;
    const sample = isShown ? this.#nearest(this.#cursor) : null;
    this.cursorLine.setAttribute("visibility", sample ? "visible" : "hidden");
    if (!sample) return;
    const x = this.x(sample.at);
    for (const [name, value] of [["x1", x], ["x2", x], ["y1", this.plot.top], ["y2", this.plot.bottom]]) {
      this.cursorLine.setAttribute(name, value);
    }
    if (!this.tooltip.hidden) this.#fillTooltip(sample, x);
  }

  #fillTooltip(sample, x) {
    const rows = this.options.series.filter((one) => !one.legend.item.hidden).map((one) =>
      element("span", { class: `tone-${one.tone} ${one.style}` }, swatch(), `${one.label} `,
        element("b", {}, this.options.write(sample[one.key]))));
    const near = this.#marks.filter((mark) => Math.abs(mark.at - sample.at) < 1000);
    const marks = near.map((mark) => element("em", {}, mark.label));
    this.tooltip.replaceChildren(element("time", {}, clock(sample.at)), ...rows, ...marks);
    this.#placeTooltip(x);
  }

  #placeTooltip(x) {
    const isRight = x > (this.plot.left + this.plot.right) / 2;
    const [inner, outer] = [this.svg.getBoundingClientRect(), this.figure.getBoundingClientRect()];
    const wished = inner.left - outer.left + (isRight ? x - this.tooltip.offsetWidth - 10 : x + 10);
    this.tooltip.style.left = `${Math.max(0, Math.min(wished, this.figure.clientWidth - this.tooltip.offsetWidth))}px`;
    this.tooltip.style.top = `${inner.top - outer.top + margin.top}px`;
  }
}
