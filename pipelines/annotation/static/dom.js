// Elements, without markup: what a class or a file is called only ever becomes text.

/** The element with an id; a missing one is our own mistake. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/**
 * Make an element.
 *
 * @param {string} name Its tag.
 * @param {object} attributes `text` becomes text, `on` an object of listeners, true an empty attribute, false and null none.
 * @param {...(Node|string)} children
 */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else if (key === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, String(value));
  }
  node.append(...children);
  return node;
}

/** Set text only where it differs: a live region would read it again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Whether a key press belongs to a text field or to the browser (Ctrl, Alt, Meta). */
export function isForeign(event) {
  const field = event.target instanceof HTMLInputElement && ["text", "number", "search"].includes(event.target.type);
  return event.ctrlKey || event.metaKey || event.altKey || event.isComposing || field;
}
