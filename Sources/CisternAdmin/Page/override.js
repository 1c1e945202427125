/** The form that overrides an organization's limit and refills its bucket. */

import { organizationPath, request } from "./api.js";
import { age, day, exact, full, limitText } from "./format.js";
import { byId, confirmed, say, setText } from "./dom.js";

const most = 1_000_000_000;
const longestExpiry = 315_360_000;

export class OverrideForm {
  #name = null;
  #answer = null;
  #default = null;
  #isEdited = false;
  /** The seconds until the override expires, and when they were read; null if it does not expire. */
  #left = null;

  /** Calls `onChange` after each request for a change. */
  constructor(onChange) {
    this.onChange = onChange;
    const form = byId("override");
    form.addEventListener("input", () => { this.#isEdited = true; });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
    byId("override-expiry").addEventListener("change", () => this.#showSeconds());
    byId("override-remove").addEventListener("click", () => this.#remove());
    byId("bucket-reset").addEventListener("click", () => this.#refill());
  }

  setDefault(limit) {
    this.#default = limit;
  }

  open(name) {
    this.#name = name;
    this.#answer = null;
    this.#isEdited = false;
    byId("override").reset();
    this.#left = null;
    byId("override-keep").hidden = true;
    byId("override-expiry").value = "";
    this.#showSeconds();
    this.#setButtons();
    say(byId("organization-message"), "");
    setText(byId("override-now"), "");
  }

  /** Shows the server's response; keeps fields that the user has edited. */
  show(answer) {
    this.#answer = answer;
    this.#setButtons();
    setText(byId("override-now"), answer.override ? overrideWords(answer.override) : "No override is in force.");
    if (!this.#isEdited) this.#fillIn(answer.limit, answer.override);
  }

  #fillIn(limit, override) {
    const left = override?.expiresInSeconds ?? null;
    const keep = byId("override-keep");
    keep.hidden = left === null;
    setText(keep, left === null ? "unchanged" : `unchanged (${age(left)} left)`);
    this.#left = left === null ? null : { seconds: left, at: performance.now() };
    byId("override-expiry").value = left === null ? "" : "keep";
    this.#showSeconds();
    byId("override-capacity").value = limit.capacity;
    byId("override-refill").value = limit.refill;
    byId("override-shadow").checked = limit.shadow;
  }

  #setButtons() {
    const hasAnswer = this.#answer !== null;
    byId("override-apply").disabled = !hasAnswer;
    byId("bucket-reset").disabled = !hasAnswer;
    byId("override-remove").hidden = !this.#answer?.override;
  }

  #showSeconds() {
    byId("override-seconds-field").hidden = byId("override-expiry").value !== "custom";
  }

  // Changes

  async #apply() {
    const requested = this.#read();
    if (requested === null || this.#answer === null) return;
    const { limit, override } = this.#answer;
    const isSure = await confirmed({
      title: `Override the limit of ${this.#name}?`,
      action: "Set override",
      note: requested.shadow ? "In shadow mode the limit only counts what it would deny." : "It takes effect at once.",
      changes: [
        ["Capacity", `${full(limit.capacity)} tokens`, `${full(requested.capacity)} tokens`],
        ["Refill", limit.refill, requested.refill],
        ["Shadow mode", yesNo(limit.shadow), yesNo(requested.shadow)],
        [
          "Expires",
          override ? expiryText(override.expiresAt) : "no override",
          requested.expiresInSeconds ? `in ${age(requested.expiresInSeconds)}` : "never",
        ],
      ],
    });
    if (!isSure) return;
    await this.#change("PUT", "/limit", requested, `The limit is now ${limitText(requested)}.`);
  }

  async #remove() {
    const { limit, override } = this.#answer;
    const standard = this.#default ? limitText(this.#default) : "the default";
    const isSure = await confirmed({
      title: `Remove the override of ${this.#name}?`,
      action: "Remove override",
      note: overrideWords(override),
      changes: [["Limit", limitText(limit), `the limit in the limits file, or else the default: ${standard}`]],
    });
    if (isSure) await this.#change("DELETE", "/limit", undefined, "The override was removed.");
  }

  async #refill() {
    const { limit, store } = this.#answer;
    const filled = limit.capacity - (store?.outstanding ?? 0);
    const isSure = await confirmed({
      title: `Refill the bucket of ${this.#name}?`,
      action: "Refill bucket",
      note: "The organization can use the new tokens at once. Servers keep the tokens that they have leased.",
      changes: [["In the bucket", store ? `${exact(store.balance)} tokens` : "not known", `${exact(filled)} tokens`]],
    });
    if (isSure) await this.#change("DELETE", "/bucket", undefined, "The bucket is full again, minus leased tokens.");
  }

  async #change(method, part, body, done) {
    const name = this.#name;
    const message = byId("organization-message");
    say(message, "sending …");
    try {
      await request(method, organizationPath(name, part), { body });
      if (this.#name !== name) return;
      this.#isEdited = part === "/limit" ? false : this.#isEdited;
      say(message, done, "good");
    } catch (problem) {
      if (this.#name === name) say(message, problem.message, "bad");
    }
    this.onChange();
  }

  // Reading the form

  #read() {
    const fields = [
      ["override-capacity", "Capacity", 0, "a whole number of tokens", most],
    ];
    const expiry = byId("override-expiry").value;
    if (expiry === "custom") {
      fields.push(["override-seconds", "Expires in", 1, "a whole number of seconds", longestExpiry]);
    }
    const values = [...fields.map((field) => readNumber(...field)), readRefill()];
    const wrong = values.find((value) => value.problem);
    for (const value of values) byId(value.id).toggleAttribute("aria-invalid", Boolean(value.problem));
    if (wrong) {
      say(byId("organization-message"), wrong.problem, "bad");
      byId(wrong.id).focus();
      return null;
    }
    const [capacity, seconds] = values.slice(0, -1).map((value) => value.number);
    const { refill } = values.at(-1);
    const requested = { capacity, refill, shadow: byId("override-shadow").checked };
    if (expiry === "keep") {
      const left = Math.round((this.#left?.seconds ?? 0) - (performance.now() - (this.#left?.at ?? 0)) / 1000);
      if (left < 1) {
        say(byId("organization-message"), "The override has expired: choose when the new one expires.", "bad");
        byId("override-expiry").focus();
        return null;
      }
      requested.expiresInSeconds = left;
    } else if (expiry !== "") {
      requested.expiresInSeconds = seconds ?? Number(expiry);
    }
    return requested;
  }
}

function readNumber(id, name, least, kind, highest) {
  const text = byId(id).value.trim();
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= highest) return { id, number };
  return { id, problem: `${name} is ${text || "empty"}: use ${kind} from ${least} to ${full(highest)}.` };
}

/** Reads the refill; a number alone is in tokens a second. The server checks its bounds. */
function readRefill() {
  const id = "override-refill";
  const text = byId(id).value.trim();
  if (/^\d+$/.test(text)) return { id, refill: `${text}/s` };
  if (/^\d+\/\d*(ms|s|m|h|d)$/.test(text)) return { id, refill: text };
  return { id, problem: `Refill is ${text || "empty"}: use whole tokens per period, such as 10/s, 600/m or 5/h.` };
}

const yesNo = (isSet) => (isSet ? "yes" : "no");

const expiryText = (expiresAt) => (expiresAt ? day(expiresAt) : "never");

/** Describes an override: who set it and when, and the time left. */
function overrideWords(override) {
  const set = `Set by ${override.setBy} on ${day(override.setAt)}`;
  if (!override.expiresAt) return `${set}, until it is removed.`;
  const left = override.expiresInSeconds;
  return `${set}, until ${day(override.expiresAt)} (${left > 0 ? `${age(left)} left` : "expired"}).`;
}
