/** Recent events and overrides: events load when the status reports a new one, overrides every three seconds. */

import { request } from "./api.js";
import { byId, element, fitChildren, setText } from "./dom.js";
import { day, limitText } from "./format.js";

const overridesInterval = 3000;

export class Journal {
  #latest = -1;
  #overridesAt = 0;
  #open;

  /** Calls `open` with the name of the organization that the user selects. */
  constructor(open) {
    this.#open = open;
    byId("overrides").addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.name;
      if (name) this.#open(name);
    });
  }

  async show(status) {
    if (status.latestJournalEntry !== this.#latest) {
      this.#latest = status.latestJournalEntry;
      await this.#load("v1/journal", (answer) => this.#showEntries(answer.entries));
    }
    // Polled, since other servers set overrides, too, and an expiry causes no event.
    if (Date.now() - this.#overridesAt >= overridesInterval) {
      this.#overridesAt = Date.now();
      await this.#load("v1/overrides?limit=100", (answer) => this.#showOverrides(answer));
    }
  }

  async #load(path, show) {
    try {
      show(await request("GET", path));
    } catch {
      // The next status event retries.
      this.#latest = -1;
    }
  }

  #showEntries(entries) {
    const list = byId("journal");
    const latestFirst = entries.toReversed();
    const rows = fitChildren(list, latestFirst.length, () => element("li", {}, element("time"), element("span")));
    latestFirst.forEach((entry, index) => {
      const row = rows[index];
      row.dataset.level = entry.level;
      row.firstElementChild.dateTime = entry.at;
      setText(row.firstElementChild, day(entry.at));
      const details = Object.entries(entry.details).map(([name, value]) => `${name}: ${value}`).join(", ");
      setText(row.lastElementChild, details ? `${entry.message} (${details})` : entry.message);
    });
    byId("journal-note").hidden = entries.length > 0;
  }

  #showOverrides({ total, overrides }) {
    const list = byId("overrides");
    const rows = fitChildren(list, overrides.length, () =>
      element("li", {}, element("button", { type: "button" }), element("span")));
    overrides.forEach(({ organization, override }, index) => {
      const row = rows[index];
      row.firstElementChild.dataset.name = organization;
      setText(row.firstElementChild, organization);
      const until = override.expiresAt ? `until ${day(override.expiresAt)}` : "until it is removed";
      setText(row.lastElementChild, `${limitText(override)}, by ${override.setBy}, ${until}`);
    });
    setText(byId("overrides-count"), total > overrides.length ? `the first ${overrides.length} of ${total}` : "");
    byId("overrides-note").hidden = overrides.length > 0;
  }
}
