/** The lease settings form. */

import { request } from "./api.js";
import { span } from "./format.js";
import { byId, confirmed, say } from "./dom.js";

const fields = [
  { id: "lease-horizon", member: "horizonMilliseconds", name: "Horizon" },
  { id: "lease-duration", member: "durationMilliseconds", name: "Duration" },
  { id: "lease-prefetch", member: "prefetchMilliseconds", name: "Prefetch" },
];
const embeddedText = "This server keeps its buckets in its own memory: nothing is leased, so there is nothing to set.";

export class LeaseForm {
  #lease = null;

  constructor() {
    byId("lease").addEventListener("input", () => this.#preview());
    byId("lease").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
  }

  /** Shows the settings in force, null for the embedded store; keeps fields that the user has edited. */
  show(lease) {
    const before = this.#lease;
    this.#lease = lease;
    byId("lease-fields").disabled = lease === null;
    if (lease === null) return say(byId("lease-message"), embeddedText);
    if (byId("lease-message").textContent === embeddedText) say(byId("lease-message"), "");
    for (const { id, member } of fields) {
      const isUntouched = before === null || Number(byId(id).value) === before[member];
      if (isUntouched) byId(id).value = lease[member];
    }
  }

  /** The changes in the form; null if a field is not a whole number. */
  #changes() {
    const wrong = fields.find(({ id }) => !/^\d+$/.test(byId(id).value.trim()));
    fields.forEach((field) => byId(field.id).toggleAttribute("aria-invalid", field === wrong));
    if (wrong) {
      const typed = byId(wrong.id).value || "empty";
      say(byId("lease-message"), `${wrong.name} is ${typed}: use a whole number of milliseconds.`, "bad");
      return null;
    }
    return fields
      .map((field) => ({ ...field, from: this.#lease[field.member], to: Number(byId(field.id).value) }))
      .filter(({ from, to }) => from !== to);
  }

  #preview() {
    const changes = this.#lease && this.#changes();
    if (!changes) return;
    const words = changes.map(({ name, from, to }) => `${name.toLowerCase()} ${span(from)} → ${span(to)}`);
    say(byId("lease-message"), words.length > 0 ? `Not applied yet: ${words.join(", ")}.` : "");
  }

  async #apply() {
    const changes = this.#lease && this.#changes();
    if (!changes) return;
    const message = byId("lease-message");
    if (changes.length === 0) return say(message, "These are the settings in force.");
    const isSure = await confirmed({
      title: "Change the lease settings of this server?",
      action: "Apply",
      note: "Takes effect with the next lease. The charts will show a mark.",
      changes: changes.map(({ name, from, to }) => [name, span(from), span(to)]),
    });
    if (!isSure) return;
    const body = Object.fromEntries(changes.map(({ member, to }) => [member, to]));
    try {
      const lease = await request("PUT", "v1/lease", { body });
      const words = changes.map(({ name, member }) => `${name.toLowerCase()} ${span(lease[member])}`);
      say(message, `In force: ${words.join(", ")}.`, "good");
    } catch (problem) {
      say(message, problem.message, "bad");
    }
  }
}
