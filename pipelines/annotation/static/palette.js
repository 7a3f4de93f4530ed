// The classes at the side: key, colour, pattern and name; pressing the key or clicking the row chooses one.

import { el } from "./dom.js";
import { fillClass, sized } from "./paint.js";

const RESERVED = [" ", "Spacebar", "Backspace", "Enter", "Escape", "Tab", "?", "+", "-", "=", "_", ",", "."];
const SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** The key of an event without what Caps Lock does to it. */
export function keyOf(event) {
  if (event.key.length !== 1) return event.key;
  const [lower, upper] = [event.key.toLowerCase(), event.key.toUpperCase()];
  return lower === upper ? event.key : event.shiftKey ? upper : lower;
}

/** Classes with a key each: those without one, or with one that the page needs itself, get a capital letter. */
export function withKeys(classes) {
  const usable = (key) => key !== "" && !RESERVED.includes(key) && !key.startsWith("Arrow") && !key.startsWith("Page");
  const taken = new Set(classes.map((one) => one.key).filter(usable));
  const spare = [...SPARE].filter((key) => !taken.has(key));
  return classes.map((one, index) => ({ ...one, index, key: usable(one.key) ? one.key : (spare.shift() ?? "") }));
}

/** The letter that stands for a class on small dots. */
export function letterOf(one) {
  return one.key || String(one.id);
}

/** How a key is read out and shown. */
export function keyText(key) {
  return /^[A-Z]$/.test(key) ? `Shift ${key}` : key;
}

/** A small canvas with a class's colour and pattern. */
export function swatch(one, className = "swatch") {
  const canvas = el("canvas", { class: className, "aria-hidden": "true" });
  const paint = () => {
    const [width, height] = [canvas.clientWidth || 24, canvas.clientHeight || 18];
    fillClass(sized(canvas, width, height), one.index, one.color, 0, 0, width, height);
  };
  new ResizeObserver(paint).observe(canvas);
  paint();
  return canvas;
}

/** Fill an element with one button per class; gives a function that marks one as chosen (null = none). */
export function fillPalette(holder, classes, choose) {
  const buttons = classes.map((one) => {
    const button = el(
      "button",
      { type: "button", class: "class", "aria-pressed": "false", "aria-keyshortcuts": one.key.length === 1 ? ariaKey(one.key) : null },
      el("kbd", { text: keyText(one.key), "aria-hidden": "true" }),
      swatch(one),
      el("span", { class: "name", text: one.name }),
    );
    button.addEventListener("mousedown", (event) => event.preventDefault()); // keys stay with the page
    button.addEventListener("click", () => choose(one));
    return button;
  });
  holder.replaceChildren(...buttons);
  holder.classList.toggle("many", classes.length > 14);
  return (id) => {
    classes.forEach((one, at) => buttons[at].setAttribute("aria-pressed", String(one.id === id)));
  };
}

function ariaKey(key) {
  return /^[A-Z]$/.test(key) ? `Shift+${key}` : key;
}
