/** DOM helpers. Data is inserted as text, never as markup. */

const svgNamespace = "http://www.w3.org/2000/svg";

const hiddenCharacters = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export const byId = (id) => document.getElementById(id);

/** Makes control and bidirectional characters visible: an untrusted name or error could hide or reorder text. */
const plain = (text) => text.replace(hiddenCharacters, "\ufffd");

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.map((child) => (typeof child === "string" ? plain(child) : child)));
  return node;
}

export const element = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const shape = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(svgNamespace, tag), attributes, children);

/** Sets a text only if it differs, so that live regions announce changes only. */
export function setText(node, text) {
  const shown = plain(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** Sets a data attribute to a plain number, or to an empty string if the value is not finite. */
export function setNumber(node, name, value) {
  node.dataset[name] = Number.isFinite(value) ? String(value) : "";
}

/** Gives a list one child per item; keeps existing children, so that focus and transitions survive. */
export function fitChildren(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make());
  return [...parent.children];
}

/** Shows the result of an action beside its form. */
export function say(node, text, kind = "") {
  node.dataset.kind = kind;
  setText(node, text);
}

/** Asks the user to confirm a change. `changes` are rows of [name, old value, new value]. */
export function confirmed({ title, changes, note = "", action }) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-note"), note);
  setText(byId("confirm-yes"), action);
  byId("confirm-changes").replaceChildren(...changes.map(changeRow));
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
    byId("confirm-no").focus();
  });
}

function changeRow([what, from, to]) {
  const isChange = from !== to;
  return element("tr", {},
    element("th", { scope: "row" }, what),
    element("td", { class: isChange ? "from" : "" }, isChange ? from : "unchanged"),
    element("td", { class: isChange ? "to" : "same" }, isChange ? `→ ${to}` : to));
}

export function prepareConfirm() {
  const dialog = byId("confirm");
  byId("confirm-yes").addEventListener("click", () => dialog.close("yes"));
  byId("confirm-no").addEventListener("click", () => dialog.close(""));
}
