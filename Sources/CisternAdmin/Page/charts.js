/** The charts of the last five minutes: their definitions and the samples that they show. */

import { Chart } from "./chart.js";
import { compact, latency, percent, span } from "./format.js";

const kept = 330_000;

const definitions = {
  decisions: {
    title: "Decisions", unit: "per second", write: compact,
    total: (sample) => sample.allowed + sample.denied + sample.unmetered + sample.refused,
    series: [
      { key: "allowed", label: "allowed", tone: "allowed", style: "area" },
      { key: "denied", label: "denied", tone: "denied", style: "area" },
      { key: "unmetered", label: "unmetered", tone: "unmetered", style: "area" },
      { key: "refused", label: "refused", tone: "refused", style: "area" },
      { key: "shadowDenied", label: "shadow denials", tone: "shadow", style: "dashed", onlyIfAny: true },
    ],
  },
  latency: {
    title: "Decision latency", unit: "p99", write: latency, scale: "log",
    tick: (value) => (value < 0.1 ? "< 0.1 ms" : `${value} ms`),
    total: (sample) => sample.p99,
    series: [
      { key: "p50", label: "p50", tone: "allowed", style: "line" },
      { key: "p99", label: "p99", tone: "store", style: "line" },
      { key: "p999", label: "p99.9", tone: "unmetered", style: "line" },
    ],
  },
  local: {
    title: "Decided locally", unit: "of decisions", write: percent, scale: "percent",
    tick: (value) => `${value}%`,
    total: (sample) => sample.decidedLocallyPercent,
    series: [{ key: "decidedLocallyPercent", label: "decided locally", tone: "local", style: "line" }],
  },
  storeCalls: {
    title: "Store calls", unit: "per second", write: compact,
    total: (sample) => sample.storeCalls,
    series: [{ key: "storeCalls", label: "store calls", tone: "store", style: "area" }],
  },
  storeCallsPerThousand: {
    title: "Store calls", unit: "per 1,000 decisions", write: compact, least: 1,
    total: (sample) => sample.storeCallsPerThousand,
    series: [{ key: "storeCallsPerThousand", label: "per 1,000", tone: "store", style: "line" }],
  },
  tokens: {
    title: "Tokens outstanding", unit: "leased, not spent", write: compact,
    total: (sample) => sample.outstanding,
    series: [
      { key: "outstanding", label: "outstanding", tone: "local", style: "line" },
      { key: "stranded", label: "stranded", tone: "unmetered", style: "line" },
    ],
  },
};

/** Notes for the embedded store, whose constant zeros would look like a fault. */
const embeddedNotes = {
  storeCalls: "The embedded store is never called",
  storeCallsPerThousand: "The embedded store is never called",
  tokens: "The embedded store leases nothing",
};

export class Charts {
  samples = [];
  marks = [];
  #isEmbedded = false;

  constructor() {
    const onCursor = (at) => this.all.forEach(([, chart]) => chart.showCursor(at));
    this.all = Object.entries(definitions).map(([name, definition]) => {
      const figure = document.querySelector(`[data-chart="${name}"]`);
      return [name, new Chart(figure, { ...definition, onCursor })];
    });
    document.addEventListener("visibilitychange", () => this.draw());
  }

  /** Replaces the samples that the server still has; keeps older samples, which only this page has. */
  replace(history) {
    const first = history[0]?.at ?? Infinity;
    this.samples = [...this.samples.filter((sample) => sample.at < first), ...history];
    this.draw();
  }

  add(sample) {
    if (sample.at <= (this.samples.at(-1)?.at ?? 0)) {
      // The server's clock was set back: drop the samples that now lie in the future.
      this.samples = this.samples.filter((known) => known.at < sample.at);
    }
    this.samples.push(sample);
    this.samples = this.samples.filter((known) => known.at > sample.at - kept);
    this.draw();
  }

  /** Draws a vertical line with a label into all charts. */
  mark(at, label) {
    this.marks = [...this.marks.filter((known) => known.at > at - kept), { at, label }];
  }

  setEmbedded(isEmbedded) {
    this.#isEmbedded = isEmbedded;
  }

  draw() {
    if (document.hidden) return;
    for (const [name, chart] of this.all) chart.update(this.samples, this.marks, this.#note(name, chart));
  }

  #note(name, chart) {
    if (this.samples.length === 0) return "Waiting for the first sample";
    if (this.#isEmbedded && name in embeddedNotes) return embeddedNotes[name];
    return this.samples.some((sample) => chart.hasValue(sample)) ? null : "No decisions in the last five minutes";
  }
}

/** Describes the changes between two lease settings; null if there are none. */
export function leaseChange(before, after) {
  if (before === null || after === null) return null;
  const names = { horizonMilliseconds: "horizon", durationMilliseconds: "duration", prefetchMilliseconds: "prefetch" };
  const changes = Object.entries(names)
    .filter(([member]) => before[member] !== after[member])
    .map(([member, name]) => `${name} ${span(before[member])} → ${span(after[member])}`);
  return changes.length > 0 ? changes.join(", ") : null;
}
