/** The entry point of the dashboard: passes the server's events to the parts of the page. */

import { EventStream, token } from "./api.js";
import { Charts, leaseChange } from "./charts.js";
import { byId, prepareConfirm, say, setText } from "./dom.js";
import { clock } from "./format.js";
import { Journal } from "./journal.js";
import { LeaseForm } from "./lease.js";
import { OrganizationPanel } from "./organization.js";
import { isEmbedded, prepareRankings, showBusiest, showState, showStatus } from "./overview.js";

const charts = new Charts();
const lease = new LeaseForm();
const organization = new OrganizationPanel();
const journal = new Journal((name) => organization.open(name));
const stream = new EventStream({ onEvent, onLost });
const tokenWanted = "The admin API of this server requires a token.";
let lastStatus = null;
let lastHeard = Date.now();

function onEvent(name, value) {
  lastHeard = Date.now();
  setConnected();
  if (name === "history") charts.replace(value);
  if (name === "status") onStatus(value);
  if (name === "busiest") showBusiest(value);
}

function onStatus(status) {
  markChanges(status);
  charts.setEmbedded(isEmbedded(status));
  charts.add(status.sample);
  showStatus(status);
  lease.show(status.lease);
  organization.setDefault(status.limit);
  journal.show(status);
  lastStatus = status;
}

function markChanges(status) {
  if (lastStatus === null) return;
  const label = leaseChange(lastStatus.lease, status.lease);
  if (label) charts.mark(status.sample.at, label);
  if (lastStatus.server !== status.server) charts.mark(status.sample.at, "server restarted");
}

// Connection

const isLocked = () => document.body.classList.contains("locked");

function setConnected() {
  if (!document.body.classList.contains("waiting") && byId("connection").hidden) return;
  const wasLocked = isLocked();
  document.body.classList.remove("waiting", "stale", "locked");
  byId("connection").hidden = true;
  byId("token").hidden = true;
  byId("token-forget").hidden = token.get() === null;
  if (lastStatus === null) organization.start();
  else if (wasLocked) organization.resume();
}

function onLost(problem) {
  if (problem.status === 401) return;
  if (isLocked()) {
    if (problem.status === 0) say(byId("token-message"), "The server does not respond; trying again.");
    return;
  }
  document.body.classList.add("stale");
  showState("unknown", ["unknown: no connection to the server"]);
  const why = problem.status > 0 ? ` (${problem.message})` : "";
  setText(byId("connection"), `no connection to the server since ${clock(lastHeard)}; trying again${why}`);
  byId("connection").hidden = false;
}

// Token

function onUnauthorized({ detail: { hadToken } }) {
  const message = byId("token-message");
  // A late response to an earlier request must not reset the form while the user types.
  if (isLocked() && !hadToken) {
    if (message.dataset.kind !== "bad") say(message, tokenWanted);
    return;
  }
  token.forget();
  stream.drop();
  document.body.classList.add("waiting", "locked");
  byId("connection").hidden = true;
  byId("token").hidden = false;
  byId("token-forget").hidden = true;
  showState("unknown", ["token required"]);
  say(message, hadToken ? "That token is wrong." : tokenWanted, hadToken ? "bad" : "");
  byId("token-input").value = "";
  byId("token-input").focus();
}

function applyToken(event) {
  event.preventDefault();
  const secret = byId("token-input").value.trim();
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    const why = secret === "" ? "Type the token first." : "A token consists of visible ASCII characters only.";
    return say(byId("token-message"), why, "bad");
  }
  token.set(secret);
  stream.retry();
}

/** Reloads the page, so that it keeps no data that was loaded with the token. */
function forgetToken() {
  token.forget();
  location.reload();
}

window.addEventListener("unauthorized", onUnauthorized);
byId("token").addEventListener("submit", applyToken);
byId("token-forget").addEventListener("click", forgetToken);
prepareConfirm();
prepareRankings((name) => organization.open(name));
stream.run();
