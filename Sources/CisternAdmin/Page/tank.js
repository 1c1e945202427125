/** A bucket as a tank: the balance as water, leased tokens on top, the capacity as its rim. */

import { exact, full } from "./format.js";
import { byId, element, fitChildren, setText } from "./dom.js";

const shades = 6;
const shownLessees = 5;
const deepestPromise = 0.3;

export class Tank {
  #colors = new Map();

  constructor() {
    this.view = byId("tank");
    const part = (name, ...children) => element("div", { class: name }, ...children);
    this.promised = part("promised");
    this.walls = part("walls");
    this.water = part("water");
    this.leases = part("leases");
    this.rim = part("rim", element("span"));
    this.view.append(this.promised, this.water, this.leases, this.walls, this.rim);
  }

  /** Forgets the colors of the lessees, for another organization. */
  reset() {
    this.#colors.clear();
  }

  /** The color of a lessee, which is stable while the organization is shown. */
  shade(name) {
    if (!this.#colors.has(name)) this.#colors.set(name, this.#colors.size % shades);
    return this.#colors.get(name);
  }

  /** Shows the bucket in the store; null shows an unknown bucket. */
  show(store, capacity) {
    this.view.classList.toggle("unknown", store === null);
    const balance = store?.balance ?? 0;
    const lessees = store ? this.#parts(store) : [];
    this.#layOut(balance, lessees, capacity);
    this.#showLegend(store, balance, lessees, capacity);
    this.view.setAttribute("aria-label", store ? this.#words(store, capacity) : "Bucket: its store is out of reach");
  }

  /** One part per lessee, five at most: with more lessees, the fifth part sums up the smallest ones. */
  #parts(store) {
    const parts = store.lessees.filter((lessee) => lessee.tokens > 0).map((lessee) => ({
      name: lessee.isThisServer ? `${lessee.name} (this server)` : lessee.name,
      tokens: lessee.tokens,
      shade: this.shade(lessee.name),
    }));
    if (parts.length <= shownLessees) return parts;
    const rest = parts.slice(shownLessees - 1);
    const tokens = rest.reduce((sum, part) => sum + part.tokens, 0);
    return [...parts.slice(0, shownLessees - 1), { name: `${rest.length} others`, tokens, shade: "rest" }];
  }

  #layOut(balance, lessees, capacity) {
    this.view.classList.toggle("empty", balance <= 0);
    const water = Math.max(0, balance);
    const leased = lessees.reduce((sum, part) => sum + part.tokens, 0);
    const height = Math.max(capacity, water + leased) || 1;
    const promise = Math.max(0, -balance);
    const floor = Math.min(deepestPromise, promise / (height + promise));
    const share = (tokens) => `${(tokens / height) * (1 - floor) * 100}%`;
    const put = (part, bottom, size) => Object.assign(part.style, { bottom, height: size });
    put(this.promised, "0", `${floor * 100}%`);
    put(this.walls, `${floor * 100}%`, share(capacity));
    put(this.water, `${floor * 100}%`, share(water));
    put(this.leases, `calc(${floor * 100}% + ${share(water)})`, share(leased));
    this.rim.style.bottom = `calc(${floor * 100}% + ${share(capacity)})`;
    setText(this.rim.firstElementChild, full(capacity));
    const slices = fitChildren(this.leases, lessees.length, () => element("div"));
    lessees.forEach((part, index) => {
      slices[index].className = `shade-${part.shade}`;
      slices[index].style.flexGrow = part.tokens;
    });
  }

  #showLegend(store, balance, lessees, capacity) {
    const leased = lessees.reduce((sum, part) => sum + part.tokens, 0);
    const free = capacity - Math.max(0, balance) - leased;
    const rows = store === null ? [["free", "unknown", "–"]] : [
      ["free", "free", exact(Math.max(0, free))],
      ...lessees.toReversed().map((part) => [`shade-${part.shade}`, part.name, exact(part.tokens)]),
      ["water", "in the bucket", exact(Math.max(0, balance))],
      ...(balance < 0 ? [["promised", "promised from future refill", exact(-balance)]] : []),
    ];
    const items = fitChildren(byId("tank-legend"), rows.length, () =>
      element("li", {}, element("i", { "aria-hidden": "true" }), element("span"), element("b")));
    rows.forEach(([kind, name, value], index) => {
      items[index].className = kind;
      setText(items[index].children[1], name);
      setText(items[index].children[2], value);
    });
  }

  #words(store, capacity) {
    const balance = store.balance < 0
      ? `empty, ${exact(-store.balance)} promised from future refill`
      : `${exact(store.balance)} of ${full(capacity)} tokens`;
    return `Bucket: ${balance}, ${exact(store.outstanding)} leased`;
  }
}
