/** A chart over time: figure, axes, lines or stacked areas, marks, and a cursor for mouse, touch and keys. */

import { clock, isNumber, minute } from "./format.js";
import { element, setNumber, setText, shape } from "./dom.js";
import { areaPath, linearScale, linePath, logScale, percentScale, runs, timeTicks } from "./scale.js";

const margin = { top: 20, right: 10, bottom: 20, left: 46 };
const markRowHeight = 13;
const characterWidth = 5.9;

export class Chart {
  #samples = [];
  #marks = [];
  #emptyText = "Waiting for the first second";
  #cursor = null;

  /**
   * `options`: title, unit, series [{key, label, tone, style: "area" | "line" | "dashed", onlyIfAny}], scale ("linear",
   * "percent", "log"), least (top of the axis), write(value), tick(value), total(sample) (the big figure), headline,
   * duration and gap in milliseconds, onCursor(at).
   */
  constructor(figure, options) {
    this.figure = figure;
    this.options = { scale: "linear", least: 10, tick: options.write, duration: 300_000, gap: 2_500, ...options };
    this.#build();
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** Shows other samples; `emptyText` stands where there are none to draw. */
  update(samples, marks, emptyText) {
    this.#samples = samples;
    this.#marks = marks;
    if (emptyText !== undefined) this.#emptyText = emptyText;
    this.draw();
  }

  /** Puts the line of the cursor at a time, or takes it away. */
  showCursor(at) {
    this.#cursor = at;
    this.#placeCursor();
    if (at === null) this.tooltip.hidden = true;
  }

  // Building

  #build() {
    const { title, unit, series } = this.options;
    this.value = element("strong", { class: "value" }, "–");
    this.headline = element("span", { class: "headline" });
    this.legend = element("ul", { class: "legend" }, ...series.map((one) => this.#legendItem(one)));
    this.svg = shape("svg", { role: "img", tabindex: 0, "aria-label": `${title}: no data yet` });
    this.grid = shape("g", { class: "axes" });
    this.lines = shape("g", { class: "lines" });
    this.notes = shape("g", { class: "marks" });
    this.cursorLine = shape("line", { class: "cursor", visibility: "hidden" });
    this.svg.append(this.grid, this.lines, this.notes, this.cursorLine);
    this.tooltip = element("div", { class: "tooltip", hidden: "" });
    this.figure.append(
      element("figcaption", {}, element("span", { class: "title" }, title), element("span", { class: "unit" }, unit),
        this.value, this.headline),
      this.legend, this.svg, this.tooltip);
  }

  #legendItem(one) {
    const value = element("b", {}, "–");
    const item = element("li", { class: `tone-${one.tone} ${one.style}` }, element("i", { "aria-hidden": "true" }), `${one.label} `, value);
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
    this.figure.dataset.points = this.visible.filter((sample) => this.#hasValue(sample)).length;
    this.#placeCursor();
  }

  #hasValue(sample) {
    return this.options.series.some((one) => isNumber(sample[one.key]));
  }

  /** The points of each series, stacked where it is an area. */
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
    this.plot = { left: margin.left, right: width - margin.right, top: margin.top, bottom: height - margin.bottom };
    const { left, right, top, bottom } = this.plot;
    this.axis = scale === "log" ? logScale(values) : scale === "percent" ? percentScale() : linearScale(values, least, height > 190 ? 4 : 3);
    this.x = (at) => right - ((this.end - at) / duration) * (right - left);
    this.y = (value) => bottom - this.axis.position(value) * (bottom - top);
  }

  #drawAxes() {
    const { left, right, bottom } = this.plot;
    const rows = this.axis.ticks.map((tick) => shape("g", {},
      shape("line", { class: tick === 0 ? "base" : "", x1: left, x2: right, y1: this.y(tick), y2: this.y(tick) }),
      shape("text", { class: "y", x: left - 6, y: this.y(tick) + 4 }, this.options.tick(tick))));
    if (this.options.scale === "log") rows.push(shape("line", { class: "base", x1: left, x2: right, y1: bottom, y2: bottom }));
    const step = this.options.duration / (right - left > 230 ? 5 : 2.5);
    const isShort = step < 60_000;
    const times = timeTicks(this.end - this.options.duration, this.end, step)
      .filter((at) => this.x(at) > left + 12 && this.x(at) < right - (isShort ? 22 : 12));
    const columns = times.map((at) => shape("text", { class: "x", x: this.x(at), y: bottom + 15 }, isShort ? clock(at) : minute(at)));
    const empty = this.visible.some((sample) => this.#hasValue(sample)) ? [] : [this.#emptyShape()];
    this.grid.replaceChildren(...rows, ...columns, ...empty);
  }

  #emptyShape() {
    const { left, right, top, bottom } = this.plot;
    return shape("text", { class: "empty", x: (left + right) / 2, y: (top + bottom) / 2 - 6 }, this.#emptyText);
  }

  /** Areas first, then lines from the top of the stack down: a layer without height must not hide the one below. */
  #outlines(layers) {
    const pieces = layers.map(({ one, points }) => ({ one, parts: runs(points, this.options.gap) }));
    const paint = (one, part, kind) => shape("path", {
      class: `${kind} tone-${one.tone} ${one.style}`, d: (kind === "fill" ? areaPath : linePath)(part, this.x, this.y),
    });
    const fills = pieces.filter(({ one }) => one.style === "area").flatMap(({ one, parts }) => parts.map((part) => paint(one, part, "fill")));
    const strokes = pieces.toReversed().flatMap(({ one, parts }) => parts.map((part) => paint(one, part, "stroke")));
    return [...fills, ...strokes];
  }

  /** Labels of marks go into a lower row where they would run into each other. */
  #markShapes() {
    const { left, right, top, bottom } = this.plot;
    const rowEnds = [];
    return this.#marks.filter((mark) => this.x(mark.at) >= left).map((mark) => {
      const x = this.x(mark.at);
      const width = mark.label.length * characterWidth;
      const start = Math.max(2, Math.min(x + 4, right - width));
      const free = rowEnds.findIndex((rowEnd) => rowEnd < start);
      const row = free < 0 ? rowEnds.length : free;
      rowEnds[row] = start + width + 8;
      return shape("g", {},
        shape("line", { x1: x, x2: x, y1: top - 8, y2: bottom }),
        shape("text", { x: start, y: top - 8 + row * markRowHeight }, mark.label));
    });
  }

  // Words

  #describe(last) {
    const { title, unit, series, write, total, headline } = this.options;
    const value = last ? total(last) : null;
    setText(this.value, write(value));
    setText(this.headline, last && isNumber(value) ? headline?.(last) ?? "" : "");
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
    const next = { ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.#choose(this.visible[next], true);
  }

  #choose(sample, isByKey) {
    this.options.onCursor(sample.at);
    // Only keys speak: a mouse would chatter.
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
      element("span", { class: `tone-${one.tone} ${one.style}` }, element("i", { "aria-hidden": "true" }), `${one.label} `,
        element("b", {}, this.options.write(sample[one.key]))));
    const marks = this.#marks.filter((mark) => Math.abs(mark.at - sample.at) < 1000).map((mark) => element("em", {}, mark.label));
    this.tooltip.replaceChildren(element("time", {}, clock(sample.at)), ...rows, ...marks);
    const isRight = x > (this.plot.left + this.plot.right) / 2;
    this.tooltip.style.left = `${isRight ? x - this.tooltip.offsetWidth - 10 : x + 10}px`;
    this.tooltip.style.top = `${this.svg.getBoundingClientRect().top - this.figure.getBoundingClientRect().top + margin.top}px`;
  }
}
