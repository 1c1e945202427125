/** Axes and outlines of charts: pure functions without access to the DOM. */

const niceSteps = [1, 2, 5, 10];
const logFloor = 0.05;

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return niceSteps.find((step) => step * power >= rough * 0.999) * power;
}

/** A linear axis from 0, or from below it, to a round number of at least `least`. */
export function linearScale(values, least, count) {
  const top = Math.max(least, ...values);
  const bottom = Math.min(0, ...values);
  const step = niceStep((top - bottom) / count);
  const first = Math.floor(bottom / step + 1e-9) * step;
  const last = Math.ceil(top / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round((last - first) / step) + 1 }, (_, index) => first + index * step);
  return { ticks, base: 0, position: (value) => (value - first) / (last - first) };
}

export function percentScale() {
  return { ticks: [0, 50, 100], base: 0, position: (value) => value / 100 };
}

/** A log axis in whole decades from 0.1 up. Smaller values lie on its floor: the server does not resolve them. */
export function logScale(values) {
  const floor = Math.log10(logFloor);
  const top = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...values)) - 1e-9));
  const decades = Array.from({ length: top + 2 }, (_, index) => 10 ** (index - 1));
  return {
    ticks: [logFloor, ...decades],
    base: logFloor,
    position: (value) => (value < 0.1 ? 0 : (Math.log10(value) - floor) / (top - floor)),
  };
}

/** Times at whole multiples of `step`, so that labels are round times. */
export function timeTicks(start, end, step) {
  const first = Math.ceil(start / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((end - first) / step) + 1) }, (_, index) => first + index * step);
}

/** Splits points where a value is missing, or where the gap between two is longer than `longestGap` milliseconds. */
export function runs(points, longestGap) {
  const found = [];
  let previous = null;
  for (const point of points) {
    if (!Number.isFinite(point.value)) {
      previous = null;
      continue;
    }
    if (previous === null || point.at - previous.at > longestGap) found.push([]);
    found.at(-1).push(point);
    previous = point;
  }
  return found;
}

const place = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** The path of a line; a single point becomes a dot, since strokes have round ends. */
export function linePath(run, x, y) {
  if (run.length === 1) return `M${place(x(run[0].at), y(run[0].value))}h0`;
  return "M" + run.map((point) => place(x(point.at), y(point.value))).join("L");
}

/** The path of the area between a run and its base. */
export function areaPath(run, x, y) {
  const base = run.toReversed().map((point) => place(x(point.at), y(point.base ?? 0)));
  return `${linePath(run, x, y)}L${base.join("L")}Z`;
}
