/** Formats numbers and times for display; an unknown value is a dash. */

const unknown = "–";
// In en-GB a million would be abbreviated as m, which reads as a thousandth.
const compactFormat = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const exactFormat = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const fullFormat = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 3 });
const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const isNumber = Number.isFinite;

/** A number with three significant digits: 12.3M. */
export function compact(value) {
  if (!isNumber(value)) return unknown;
  // A negligible number such as 0.0001 would otherwise be written in full.
  if (value !== 0 && Math.abs(value) < 0.01) return value < 0 ? "> -0.01" : "< 0.01";
  return compactFormat.format(value).replace("K", "k").replace(/^-/, "−");
}

/** Tokens, to a tenth: 1,234.5. */
export function exact(value) {
  return isNumber(value) ? exactFormat.format(Math.round(value * 10) / 10 || 0).replace(/^-/, "−") : unknown;
}

/** The value of a setting, to three decimals. */
export function full(value) {
  return isNumber(value) ? fullFormat.format(value) : unknown;
}

/** A percentage; a value just below 100 is not rounded to 100%. */
export function percent(value) {
  if (!isNumber(value)) return unknown;
  if (value > 99.99 && value < 100) return "> 99.99%";
  return `${value.toFixed(value >= 99 && value < 100 ? 2 : value < 10 && value > 0 ? 1 : 0)}%`;
}

/** A latency; the server does not distinguish latencies below 0.1 ms. */
export function latency(value) {
  if (!isNumber(value)) return unknown;
  if (value < 0.1) return "< 0.1 ms";
  if (value >= 1000) return `${(value / 1000).toPrecision(3)} s`;
  return `${value >= 100 ? Math.round(value) : Number(value.toPrecision(2))} ms`;
}

/** A duration from the settings: 250 ms, 1.5 s. */
export function span(milliseconds) {
  if (!isNumber(milliseconds)) return unknown;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${full(milliseconds / 1000)} s`;
}

/** An elapsed or remaining time, in its two largest units: 3 d 4 h. */
export function age(seconds) {
  if (!isNumber(seconds)) return unknown;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const whole = Math.max(0, Math.round(seconds));
  const first = Math.max(0, units.findIndex(([, size]) => whole >= size));
  if (whole === 0) return "0 s";
  const parts = units.slice(first, first + 2).map(([unit, size], index) => {
    const count = Math.floor((index === 0 ? whole : whole % units[first][1]) / size);
    return count > 0 ? `${count} ${unit}` : "";
  });
  return parts.filter(Boolean).join(" ");
}

/** A short duration: 1.8 s; from a minute on, formatted by `age`. */
export function brief(milliseconds) {
  if (!isNumber(milliseconds)) return unknown;
  return milliseconds < 60_000 ? `${(milliseconds / 1000).toFixed(1)} s` : age(milliseconds / 1000);
}

export const clock = (time) => clockFormat.format(time);
export const minute = (time) => minuteFormat.format(time);

/** A date and time from the API; other texts are returned unchanged. */
export function day(text) {
  const time = Date.parse(text);
  return Number.isNaN(time) ? String(text) : dayFormat.format(time);
}

/** A count with its noun: 1 node, 3 nodes. */
export function counted(count, one, many = `${one}s`) {
  return `${count < 10_000 ? exact(count) : compact(count)} ${count === 1 ? one : many}`;
}

export const limitText = (limit) =>
  `${full(limit.capacity)} tokens, ${limit.refill}${limit.shadow ? ", in shadow mode" : ""}`;
