/** The overview: the server's state and facts, its nodes, and the busiest organizations. */

import { age, compact, counted, exact, full, isNumber, latency, limitText, percent } from "./format.js";
import { byId, element, fitChildren, setText } from "./dom.js";

const consequences = { open: "unmetered", closed: "refused", local: "metered against this server's local fraction" };
const policies = {
  open: "requests are allowed, unmetered",
  closed: "requests are refused with 503",
  local: "requests are metered against this server's local fraction of each limit",
};

export const isEmbedded = (status) => status.store === "memory";

// The state

/** How many seconds the page warns after an unmetered decision. */
const recently = 10;

/** The current problems, as [level, text]; empty if there are none. */
function troubles(status) {
  const down = status.nodes.filter((node) => node.state === "down").length;
  const found = [];
  const consequence = consequences[status.failurePolicy] ?? status.failurePolicy;
  if (down > 0) found.push(["bad", nodesDown(down, status.nodes.length, consequence)]);
  const { decisions, lastSecondsAgo } = status.unmetered;
  if (lastSecondsAgo !== null && lastSecondsAgo <= recently) {
    found.push(["warn", `requests went unmetered ${lastSecondsAgo} s ago, ${exact(decisions)} since the start`]);
  }
  if (status.limits.rejected) found.push(["warn", `limits file rejected: ${status.limits.rejected}`]);
  return found;
}

function nodesDown(down, total, consequence) {
  if (total === 1) return `the node is down: decisions are ${consequence}`;
  if (down === total) return `all ${total} nodes are down: decisions are ${consequence}`;
  return `${down} of ${total} nodes ${down === 1 ? "is" : "are"} down: decisions there are ${consequence}`;
}

/** Shows the overall state: level is ok, warn, bad or unknown. */
export function showState(level, lines) {
  const state = byId("state");
  state.dataset.level = level;
  const text = lines.join("\n");
  if (state.dataset.text !== text) {
    state.replaceChildren(...lines.flatMap((line) => [element("span", {}, line), "\n"]).slice(0, -1));
  }
  state.dataset.text = text;
  document.title = `${{ ok: "●", warn: "◆", bad: "▲", unknown: "○" }[level]} ${lines[0]} – Cistern`;
}

export function showStatus(status) {
  const found = troubles(status);
  const level = found.some(([kind]) => kind === "bad") ? "bad" : "warn";
  showState(found.length > 0 ? level : "ok", found.length > 0 ? found.map(([, words]) => words) : ["all well"]);
  const identity = [`server ${status.server}`, storeText(status), `up ${age(status.uptimeSeconds)}`];
  const spans = fitChildren(byId("identity"), identity.length, () => element("span"));
  identity.forEach((text, index) => setText(spans[index], text));
  showFacts(status);
  showNodes(status);
}

function storeText(status) {
  if (isEmbedded(status)) return "embedded store";
  const count = status.nodes.length;
  if (status.topology === "cluster") return `Redis Cluster of ${counted(count, "node")}`;
  return count === 1 ? "one Redis node" : `Redis ring of ${counted(count, "node")}`;
}

const lagText = (lag) => (isNumber(lag) ? `${full(Number(lag.toPrecision(2)))} ms` : "–");

function policyText(status) {
  return isEmbedded(status) ? "not needed: embedded store" : policies[status.failurePolicy] ?? status.failurePolicy;
}

function showFacts(status) {
  const { limit, limits, sample } = status;
  const facts = [
    ["Default limit", limitText(limit)],
    ["Limits file", limits.file ? `${limits.file}: ${counted(limits.organizations, "organization")}` : "none"],
    ["Overrides", exact(limits.overrides)],
    ["Organizations in memory", counted(status.organizations, "", "").trim()],
    ["Evictions", compact(status.evictions)],
    ["Connections", exact(status.connections)],
    ["Event-loop lag", lagText(sample.eventLoopLag)],
    ["While a node is down", policyText(status)],
  ];
  const rows = fitChildren(byId("facts"), facts.length, () => element("div", {}, element("dt"), element("dd")));
  facts.forEach(([name, value], index) => {
    setText(rows[index].firstElementChild, name);
    setText(rows[index].lastElementChild, value);
  });
}

// Nodes

function showNodes(status) {
  const isUp = (node) => (node.state === "down" ? 0 : 1);
  const order = status.nodes.toSorted((one, other) => isUp(one) - isUp(other));
  const items = fitChildren(byId("nodes"), order.length, nodeItem);
  order.forEach((node, index) => fillNode(items[index], node));
  const note = byId("nodes-note");
  note.hidden = order.length > 0;
  const none = isEmbedded(status) ? "None: this server keeps the buckets in its own memory." : "No node is known yet.";
  setText(note, none);
}

function nodeItem() {
  const figure = (name) => element("div", {}, element("dt", {}, name), element("dd", { "data-figure": name }));
  return element("li", {},
    element("div", { class: "node-head" },
      element("span", { class: "node-name" }), element("span", { class: "node-state" })),
    element("div", { class: "bar", "aria-hidden": "true" }, element("i")),
    element("dl", {}, ...["share", "requests/s", "p50", "p99"].map(figure)),
    element("p", { class: "failure" }));
}

function fillNode(item, node) {
  item.dataset.node = node.name;
  item.dataset.state = node.state;
  setText(item.querySelector(".node-name"), node.name);
  setText(item.querySelector(".node-state"), node.state);
  item.querySelector(".bar i").style.width = `${Math.min(100, Math.max(0, node.share * 100)) || 0}%`;
  const share = isNumber(node.share) ? percent(node.share * 100) : "–";
  const figures = {
    share, "requests/s": compact(node.requestsPerSecond),
    p50: latency(node.latencyMilliseconds?.p50), p99: latency(node.latencyMilliseconds?.p99),
  };
  for (const place of item.querySelectorAll("dd")) setText(place, figures[place.dataset.figure]);
  const failure = item.querySelector(".failure");
  setText(failure, failureText(node));
  failure.hidden = failure.textContent === "";
}

function failureText(node) {
  if (node.state !== "down") return "";
  const reason = node.reason ?? node.failure ?? "not connected yet";
  return node.remedy ? `${reason}. Remedy: ${node.remedy}.` : reason;
}

// Busiest organizations

export function prepareRankings(open) {
  for (const id of ["busiest-allowed", "busiest-denied"]) {
    byId(id).addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.organization;
      if (name !== undefined) open(name);
    });
  }
}

export function showBusiest(lists) {
  showRanking(byId("busiest-allowed"), lists.allowed);
  showRanking(byId("busiest-denied"), lists.denied);
  const names = new Set([...lists.allowed, ...lists.denied].map((entry) => entry.organization));
  byId("search-names").replaceChildren(...[...names].map((name) => element("option", { value: name })));
}

function showRanking(list, entries) {
  const shown = held(list, entries);
  const most = Math.max(...shown.map((entry) => entry.perSecond), 0) || 1;
  const rows = fitChildren(list, shown.length, rankingRow);
  shown.forEach((entry, index) => fillRank(rows[index].firstElementChild, entry, most));
  list.hidden = shown.length === 0;
}

/** Keeps the rows in place while the list has the pointer or focus, so that a click opens the intended row. */
function held(list, entries) {
  if (!list.matches(":hover, :focus-within")) return entries;
  const byName = new Map(entries.map((entry) => [entry.organization, entry]));
  const kept = [...list.querySelectorAll("button")].map((button) => byName.get(button.dataset.organization));
  const fresh = entries.filter((entry) => !kept.includes(entry));
  return [...kept.map((entry) => entry ?? fresh.shift()), ...fresh].filter(Boolean);
}

function rankingRow() {
  return element("li", {}, element("button", { type: "button" },
    element("span", { class: "name" }), element("span", { class: "figure" }), element("span", { class: "error" }),
    element("span", { class: "bar", "aria-hidden": "true" }, element("i"))));
}

function fillRank(button, entry, most) {
  button.dataset.organization = entry.organization;
  button.dataset.perSecond = entry.perSecond;
  setText(button.querySelector(".name"), entry.organization);
  setText(button.querySelector(".figure"), compact(entry.perSecond));
  const isVague = entry.errorPerSecond > entry.perSecond / 100;
  setText(button.querySelector(".error"), isVague ? `± ${compact(entry.errorPerSecond)}` : "");
  button.querySelector(".bar i").style.width = `${Math.min(100, (entry.perSecond / most) * 100)}%`;
}
