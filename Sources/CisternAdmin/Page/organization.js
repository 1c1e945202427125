/** One organization, polled twice a second while it is shown: its limit, its bucket, and its lessees. */

import { Chart } from "./chart.js";
import { organizationPath, request } from "./api.js";
import { brief, clock, compact, counted, exact, limitText } from "./format.js";
import { byId, element, fitChildren, setNumber, setText } from "./dom.js";
import { OverrideForm } from "./override.js";
import { Tank } from "./tank.js";

const pace = 500;
const slowest = 10_000;
const kept = 70_000;
const longestName = 128;
const failed = "No data since";
const nobody = "No server holds leased tokens of this organization.";
const embedded = "The embedded store leases nothing: it decides in this process.";
const sources = { default: "the default limit", file: "from the limits file", override: "an override" };

/** Why a name is invalid; null if it is valid. */
export function nameProblem(name) {
  if (name === "") return "Type a name first.";
  const wrong = /[^A-Za-z0-9._:@-]/u.exec(name)?.[0];
  if (wrong === " ") return "A name has no spaces: use A-Z a-z 0-9 . _ : @ -";
  if (wrong) return `“${wrong}” cannot be in a name: use A-Z a-z 0-9 . _ : @ -`;
  if (name.length > longestName) return `A name has at most ${longestName} characters; this one has ${name.length}.`;
  // Browsers remove dot segments from URLs, percent-encoded or not.
  if (name === "." || name === "..") return `“${name}” cannot be part of a URL.`;
  return null;
}

export class OrganizationPanel {
  #name = null;
  #delay = pace;
  #samples = [];
  #timer = null;
  #abort = new AbortController();

  constructor() {
    this.panel = byId("organization");
    this.tank = new Tank();
    this.form = new OverrideForm(() => this.#pollNow());
    this.chart = new Chart(document.querySelector('[data-chart="organization"]'), {
      title: "Bucket", unit: "tokens, last minute", write: exact, tick: compact, least: 1,
      duration: 60_000, step: 15_000, gap: 3_000,
      total: (sample) => sample.balance,
      series: [
        { key: "balance", label: "balance", tone: "allowed", style: "line" },
        { key: "outstanding", label: "leased", tone: "local", style: "line" },
      ],
      onCursor: (at) => this.chart.showCursor(at),
    });
    byId("search").addEventListener("submit", (event) => this.#search(event));
    byId("organization-close").addEventListener("click", () => this.open(null));
    window.addEventListener("hashchange", () => this.#followAddress());
    document.addEventListener("visibilitychange", () => this.#pollNow());
  }

  /** Sets the default limit, which the form shows before an override is removed. */
  setDefault(limit) {
    this.form.setDefault(limit);
  }

  /** Resumes polling, for example after a token was entered. */
  resume() {
    this.#delay = pace;
    this.#pollNow();
  }

  /** Opens an organization, or none for null. The URL includes the name, so that a link can be shared. */
  open(name) {
    const hash = name === null ? "" : `#/${encodeURIComponent(name)}`;
    if (location.hash !== hash) history.pushState(null, "", hash || location.pathname + location.search);
    this.#show(name, true);
  }

  /** Opens the organization in the URL. */
  start() {
    this.#show(this.#addressed(), false);
  }

  #followAddress() {
    const name = this.#addressed();
    if (name !== this.#name && (name !== null || location.hash === "")) this.#show(name, true);
  }

  #addressed() {
    try {
      const name = decodeURIComponent(/^#\/(.+)$/.exec(location.hash)?.[1] ?? "");
      return nameProblem(name) === null ? name : null;
    } catch {
      return null;
    }
  }

  #search(event) {
    event.preventDefault();
    const input = byId("search-organization");
    const name = input.value.trim();
    const problem = nameProblem(name);
    this.#complain(problem);
    if (problem === null) this.open(name);
  }

  #complain(problem) {
    byId("search-organization").toggleAttribute("aria-invalid", problem !== null);
    byId("search-message").dataset.kind = problem === null ? "" : "bad";
    setText(byId("search-message"), problem ?? "");
  }

  // Polling

  #show(name, takesFocus) {
    this.#abort.abort();
    this.#abort = new AbortController();
    clearTimeout(this.#timer);
    this.#name = name;
    this.#delay = pace;
    this.#samples = [];
    this.tank.reset();
    this.form.open(name);
    this.#complain(null);
    this.#clear(name);
    if (name === null) return;
    byId("search-organization").value = name;
    if (takesFocus) this.#bringIntoView();
    this.#poll();
  }

  #bringIntoView() {
    const { top } = this.panel.getBoundingClientRect();
    if (top < 0 || top > window.innerHeight / 2) this.panel.scrollIntoView({ block: "start" });
    byId("organization-name").focus({ preventScroll: true });
  }

  #clear(name) {
    for (const figure of ["balance", "outstanding"]) setNumber(this.panel, figure, null);
    this.panel.dataset.organization = name ?? "";
    byId("organization-hint").hidden = name !== null;
    byId("organization-close").hidden = name === null;
    byId("organization-content").hidden = name === null;
    byId("organization-content").classList.add("loading");
    setText(byId("organization-name"), name ?? "");
    setText(byId("organization-limit"), "loading …");
    setText(byId("organization-pace"), "");
    this.#showProblem(null);
    this.#showLessees(null);
    this.tank.show(null, 0);
    this.chart.update([], [], "Loading");
  }

  #pollNow() {
    if (this.#name === null || document.hidden) return;
    clearTimeout(this.#timer);
    this.#poll();
  }

  async #poll() {
    const { signal } = this.#abort;
    if (document.hidden) return;
    try {
      const answer = await request("GET", organizationPath(this.#name), { signal });
      if (!signal.aborted) this.#take(answer);
    } catch (problem) {
      if (!signal.aborted) this.#fail(problem);
    }
    if (signal.aborted) return;
    clearTimeout(this.#timer);
    if (this.#delay !== Infinity) this.#timer = setTimeout(() => this.#poll(), this.#delay);
  }

  #take(answer) {
    this.#delay = Math.max(pace, this.#delay / 2);
    setText(byId("organization-pace"), this.#delay > pace ? this.#slowText() : "");
    byId("organization-content").classList.remove("loading");
    const { store, limit } = answer;
    setNumber(this.panel, "balance", store?.balance);
    setNumber(this.panel, "outstanding", store?.outstanding);
    setText(byId("organization-limit"), limitWords(answer));
    this.#showProblem(answer.storeProblem);
    this.tank.show(store, limit.capacity);
    this.#showLessees(store);
    this.form.show(answer);
    this.#plot(store);
  }

  #plot(store) {
    const at = Date.now();
    this.#samples.push({ at, balance: store?.balance, outstanding: store?.outstanding });
    this.#samples = this.#samples.filter((sample) => sample.at > at - kept);
    this.chart.options.gap = Math.max(3_000, this.#delay * 2.5);
    this.chart.update(this.#samples, [], store ? null : "Its store is out of reach");
  }

  #fail(problem) {
    const isBusy = problem.status === 429;
    // Without a valid token, polling stops until `resume`.
    if (problem.status === 401) this.#delay = Infinity;
    else this.#delay = isBusy ? Math.min(slowest, Math.max(this.#delay * 2, problem.retryAfter * 1000)) : 2_000;
    setText(byId("organization-pace"), isBusy ? this.#slowText() : "");
    if (!isBusy) this.#showProblem(`${failed} ${clock(Date.now())}: ${problem.message}`);
  }

  #slowText() {
    return `The server limits requests: updates every ${brief(this.#delay)} for now.`;
  }

  #showProblem(text) {
    const place = byId("organization-problem");
    place.hidden = text === null;
    // Each repeated failure has a new time, which the live region would announce again.
    const isRepeated = text?.startsWith(failed) && place.textContent.startsWith(failed);
    if (!isRepeated) setText(place, text ?? "");
  }

  // Lessees

  #showLessees(store) {
    const lessees = store?.lessees ?? [];
    byId("lessees").hidden = lessees.length === 0;
    const note = byId("lessees-note");
    note.hidden = lessees.length > 0 || store === null;
    setText(note, store?.node === "memory" ? embedded : nobody);
    const rows = fitChildren(byId("lessees").tBodies[0], lessees.length, lesseeRow);
    lessees.forEach((lessee, index) => this.#fillLessee(rows[index], lessee));
  }

  #fillLessee(row, lessee) {
    row.className = `shade-${this.tank.shade(lessee.name)}`;
    row.classList.toggle("this-server", lessee.isThisServer);
    setText(row.querySelector(".lessee"), lessee.isThisServer ? `${lessee.name} (this server)` : lessee.name);
    const figures = [
      exact(lessee.tokens), brief(lessee.endsInMilliseconds),
      exact(lessee.demandPerSecond), exact(lessee.tricklePerSecond),
      `${brief(lessee.askedMillisecondsAgo)} ago`,
    ];
    figures.forEach((figure, index) => setText(row.cells[index + 1], figure));
  }
}

function lesseeRow() {
  const names = ["tokens", "expires in", "demand/s", "trickle/s", "last request"];
  const swatch = element("i", { "aria-hidden": "true" });
  return element("tr", {},
    element("th", { scope: "row" }, swatch, element("span", { class: "lessee" })),
    ...names.map((name) => element("td", { "data-label": name })));
}

function limitWords(answer) {
  const { limit, limitSource, store, local } = answer;
  const parts = [`${limitText(limit)}: ${sources[limitSource] ?? limitSource}`];
  if (store && store.node !== "memory") {
    parts.push(store.slot === null ? `on ${store.node}` : `on ${store.node}, slot ${store.slot}`);
  }
  if (store && !store.isStored) parts.push("no bucket in the store: it counts as full");
  if (local.leasedTokens > 0) parts.push(`this server holds ${counted(local.leasedTokens, "leased token")}`);
  return parts.join(" · ");
}
