// The page that asks how much of an image each class covers: sliders that always sum to 100 %.

import { byId, el, isForeign, setText } from "./dom.js";
import { openFrame } from "./frame.js";
import { Line } from "./line.js";
import { keyOf, keyText, swatch } from "./palette.js";
import { fillClass, sized } from "./paint.js";
import { Shares } from "./shares.js";
import { Stage } from "./stage.js";

const STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };

const frame = await openFrame("proportions");
const { classes } = frame;
const byKey = new Map(classes.map((one) => [one.key, one]));

const stage = new Stage(byId("stage"), () => {});
const line = new Line(frame, { kind: "proportions", show, read });
const rows = classes.map(makeRow);
let shares = new Shares(classes.length);
let chosen = 0;
const drafts = new Map(); // query -> shares set and not saved yet, kept while other images are looked at
let last = null;

byId("shares").replaceChildren(...rows.map((row) => row.holder));
byId("shares").classList.toggle("many", classes.length > 10);
byId("save").addEventListener("click", save);
byId("same").addEventListener("click", same);
byId("void").addEventListener("click", cannotTell);
byId("undo").addEventListener("click", back);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
for (const button of document.querySelectorAll(".acts button")) button.addEventListener("mousedown", (event) => event.preventDefault());
new ResizeObserver(drawWhole).observe(byId("whole"));
document.addEventListener("keydown", press);

await line.begin();

function makeRow(one) {
  const slider = el("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": one.name, "aria-keyshortcuts": one.key || null });
  const value = el("output", { "aria-hidden": "true" });
  const holder = el(
    "div",
    { class: "share" },
    el("kbd", { text: keyText(one.key), "aria-hidden": "true" }),
    swatch(one),
    el("span", { class: "name", text: one.name, "aria-hidden": "true" }),
    value,
    slider,
  );
  slider.addEventListener("input", () => change(one.index, Number(slider.value)));
  slider.addEventListener("focus", () => choose(one.index, false));
  return { holder, slider, value };
}

function press(event) {
  if (isForeign(event)) return;
  const key = keyOf(event);
  const onButton = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement;
  if (key === "?") frame.help();
  else if (frame.covered || ((key === "Enter" || key === " ") && onButton)) return;
  else if (key in STEPS) nudge(STEPS[key] * (event.shiftKey && Math.abs(STEPS[key]) === 1 ? 5 : 1));
  else if (event.repeat) return;
  else if (byKey.has(key)) pick(byKey.get(key).index);
  else if (key === "Enter") save();
  else if (key === "=") same();
  else if (key === " ") cannotTell();
  else if (key === "Backspace") back();
  else if (key === ",") step(-1);
  else if (key === ".") step(1);
  else return;
  event.preventDefault();
}

/** A class's key chooses it; the first one of an image also gives it everything. */
function pick(index) {
  if (!line.shown) return;
  if (!shares.touched) {
    shares.fill(index);
    paint();
  }
  choose(index, true);
  frame.say(`${classes[index].name}, ${shares.values[index]} %`);
}

function choose(index, focus) {
  chosen = index;
  rows.forEach((row, at) => row.holder.toggleAttribute("data-chosen", at === index));
  if (focus) rows[index].slider.focus();
}

function nudge(by) {
  change(chosen, shares.values[chosen] + by);
}

function change(index, value) {
  if (!line.shown) return;
  shares.set(index, value);
  choose(index, false);
  paint();
}

function save() {
  if (!line.shown) return;
  if (!shares.touched) {
    frame.say("Nothing set yet.");
    setText(byId("last"), "Press the key of the largest class first");
    byId("last").dataset.kind = "";
    return;
  }
  last = shares.fractions();
  drafts.delete(line.item.query);
  done({ proportions: last }, words(shares.values));
}

function cannotTell() {
  if (line.shown) done({ void: true }, "Cannot tell");
}

function done(content, what) {
  line.answer(content);
  setText(byId("last"), what);
  byId("last").dataset.kind = "done";
  frame.say(`${what}. ${place()}`);
}

function same() {
  last ??= line.last;
  if (!line.shown || !last) {
    frame.say("There is no image before.");
    return;
  }
  shares = new Shares(classes.length, last);
  drafts.set(line.item.query, shares);
  paint();
  frame.say(`Same as last: ${words(shares.values)}`);
}

function back() {
  if (line.awaited) {
    line.past.then(back);
    return;
  }
  const item = line.back(false);
  const what = item ? "Back to change it" : "Nothing to take back";
  setText(byId("last"), what);
  byId("last").dataset.kind = "undone";
  frame.say(`${what}. ${place()}`);
}

function step(by) {
  frame.say(line.step(by) ? place() : by > 0 ? "This is the last image loaded." : "This is the first image.");
}

function show(item, bitmap) {
  byId("rest").hidden = item !== null;
  byId("work").toggleAttribute("data-resting", item === null);
  document.documentElement.dataset.query = item && bitmap ? item.query : "";
  stage.show(item ? bitmap : null, null);
  if (!item) {
    const [title, text] = line.asking ? ["One moment", "Looking for images."] : frame.resting();
    setText(byId("rest-title"), title);
    setText(byId("rest-text"), text);
  }
  byId("void").setAttribute("aria-pressed", String(item?.content?.void === true));
  if (item && bitmap) {
    shares = drafts.get(item.query) ?? new Shares(classes.length, item.content?.proportions ?? null);
    drafts.set(item.query, shares);
    choose(chosen, document.activeElement?.type === "range");
    paint();
  }
  const hint = item?.content ? "Answered; change it and save again." : "Key of the largest class first, then raise the others.";
  setText(byId("question"), item ? (bitmap ? hint : "Loading the image") : "Nothing to answer");
}

function paint() {
  shares.values.forEach((value, at) => {
    rows[at].slider.value = value;
    rows[at].slider.setAttribute("aria-valuetext", `${value} %`);
    setText(rows[at].value, shares.touched ? `${value} %` : "–");
    rows[at].holder.toggleAttribute("data-none", shares.touched && value === 0);
  });
  drawWhole();
}

function drawWhole() {
  const canvas = byId("whole");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const context = sized(canvas, width, height);
  context.clearRect(0, 0, width, height);
  if (!shares?.touched) return;
  let left = 0;
  for (const one of classes) {
    const part = (width * shares.values[one.index]) / 100;
    if (part > 0) fillClass(context, one.index, one.color, left, 0, part, height);
    left += part;
  }
}

function words(values) {
  const some = classes.filter((one) => values[one.index] > 0).sort((a, b) => values[b.index] - values[a.index]);
  return some.map((one) => `${one.name} ${values[one.index]} %`).join(", ");
}

function place() {
  return line.item ? `Image ${line.at + 1} of ${line.items.length} loaded.` : "Nothing left to answer.";
}

function read(answer) {
  if (!answer) return null;
  if (answer.void) return { void: true };
  return answer.proportions ? { proportions: answer.proportions } : null;
}
