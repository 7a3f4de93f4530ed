// The page that asks for single pixels (and superpixels): one key answers and shows the next.

import { byId, isForeign, setText } from "./dom.js";
import { openFrame } from "./frame.js";
import { Line } from "./line.js";
import { fillPalette, keyOf, letterOf } from "./palette.js";
import { drawDot, drawInset, drawMarker } from "./paint.js";
import { Stage } from "./stage.js";

const ACROSS = 25; // pixels of the image in the inset, from side to side
const DOT_REACH = 12; // CSS pixels

const frame = await openFrame("pixel");
const { classes, clock, images } = frame;
const byKey = new Map(classes.map((one) => [one.key, one]));
const byClass = new Map(classes.map((one) => [one.id, one]));
const VOID = frame.state.void;

const inset = byId("inset");
const stage = new Stage(byId("stage"), drawOver);
const line = new Line(frame, { kind: "pixel", show, read });
const mark = fillPalette(byId("classes"), classes, (one) => label(one.id));
let outline = null;

new ResizeObserver(drawSmall).observe(inset);
byId("void").addEventListener("click", () => label(VOID));
byId("undo").addEventListener("click", undo);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("zoom-in").addEventListener("click", () => stage.zoomBy(1));
byId("zoom-out").addEventListener("click", () => stage.zoomBy(-1));
byId("void").addEventListener("mousedown", (event) => event.preventDefault());
stage.canvas.addEventListener("click", visit);
document.addEventListener("keydown", press);

await line.begin();

function press(event) {
  if (isForeign(event)) return;
  const key = keyOf(event);
  if (key === "?") {
    frame.help();
  } else if (frame.covered) {
    return;
  } else if (byKey.has(key)) {
    if (!event.repeat) label(byKey.get(key).id);
  } else if (key === " ") {
    if (event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement) return; // presses it
    if (!event.repeat) label(VOID);
  } else if (key === "Backspace") {
    if (!event.repeat) undo();
  } else if (key === "ArrowRight" || key === "ArrowDown") step(1);
  else if (key === "ArrowLeft" || key === "ArrowUp") step(-1);
  else if (key === "+" || key === "=") stage.zoomBy(1);
  else if (key === "-" || key === "_") stage.zoomBy(-1);
  else return;
  event.preventDefault();
}

function label(classId) {
  // What is not seen cannot be answered: a key pressed before the image is there does nothing.
  if (!line.shown) return;
  line.answer({ class: classId });
  const what = nameOf(classId);
  setText(byId("last"), what);
  byId("last").dataset.kind = "done";
  frame.say(`${what}. ${place()}`);
}

function undo() {
  if (line.awaited) {
    line.past.then(undo);
    return;
  }
  const item = line.item;
  const was = line.back(true);
  const again = was?.content ? `Answered ${nameOf(was.content.class)}: another key changes it` : "Taken back: answer it again";
  const what = was ? again : "Nothing to take back";
  if (!was && item) setText(byId("last"), what);
  if (was) setText(byId("last"), what);
  byId("last").dataset.kind = "undone";
  frame.say(`${what}. ${place()}`);
}

function step(by) {
  const moved = line.step(by);
  const answer = line.item?.content ? `, answered ${nameOf(line.item.content.class)}` : "";
  frame.say(moved ? `${place()}${answer}` : by > 0 ? "This is the last point loaded." : "This is the first point.");
}

function show(item, bitmap) {
  outline = null;
  byId("rest").hidden = item !== null;
  byId("work").toggleAttribute("data-resting", item === null);
  document.documentElement.dataset.query = item && bitmap ? item.query : "";
  mark(item?.content ? item.content.class : null);
  byId("void").setAttribute("aria-pressed", String(item?.content?.class === VOID));
  stage.show(item ? bitmap : null, item);
  drawSmall();
  if (!item) {
    const [title, text] = line.asking ? ["One moment", "Looking for questions."] : frame.resting();
    setText(byId("rest-title"), title);
    setText(byId("rest-text"), text);
  }
  setText(byId("question"), item ? (bitmap ? `Which class? ${place()}` : "Loading the image") : "Nothing to answer");
  if (item && bitmap && item.outline) showOutline(item);
}

async function showOutline(item) {
  const found = await images.load(item.outline).catch(() => null);
  if (found && line.shown === item) {
    outline = found;
    stage.draw();
    drawSmall();
  }
}

/** Words for where we are. */
function place() {
  const { item } = line;
  if (!item) return "Nothing left to answer.";
  const own = line.items.filter((other) => other.image === item.image);
  const what = item.kind === "region" ? "Region" : "Point";
  return `${what} ${own.indexOf(item) + 1} of ${own.length} in this image.`;
}

function nameOf(classId) {
  return classId === VOID ? "Cannot tell" : (byClass.get(classId)?.name ?? String(classId));
}

function read(answer) {
  return answer && answer.class !== null && answer.class !== undefined ? { class: answer.class } : null;
}

/** Earlier answers in the shown image, by place: the server's, then mine of this visit. */
function dots(item) {
  const found = new Map(item.image.dots.map((dot) => [`${dot.y},${dot.x}`, { ...dot }]));
  for (const other of line.known.values()) {
    if (other.image.handle !== item.image.handle) continue;
    const key = `${other.y},${other.x}`;
    if (other.content) found.set(key, { y: other.y, x: other.x, class: other.content.class, item: other });
    else found.delete(key);
  }
  found.delete(`${item.y},${item.x}`);
  return [...found.values()];
}

function drawOver(context) {
  const { item } = line;
  for (const dot of dots(item)) {
    const one = byClass.get(dot.class);
    const [x, y] = stage.toScreen(dot.x + 0.5, dot.y + 0.5);
    drawDot(context, x, y, one?.color ?? "#777777", one ? letterOf(one) : "?");
  }
  if (outline) {
    const { width, height } = stage.bitmap;
    context.drawImage(outline, stage.left, stage.top, width * stage.scale, height * stage.scale);
    return;
  }
  // A region whose border is not there yet is marked by its point.
  const [x, y] = stage.toScreen(item.x + 0.5, item.y + 0.5);
  drawMarker(context, x, y, stage.scale);
  // On a narrow page the inset lies over the image: in the corner that is farthest from the point.
  inset.dataset.corner = x > stage.holder.clientWidth / 2 ? "left" : "right";
}

function drawSmall() {
  const { item } = line;
  inset.hidden = !item || !stage.bitmap;
  if (inset.hidden) return;
  drawInset(inset, stage.bitmap, item, ACROSS, outline);
}

/** A click on a dot goes back to that answer. */
function visit(event) {
  if (!line.item) return;
  const box = stage.canvas.getBoundingClientRect();
  const near = (dot) => {
    const [x, y] = stage.toScreen(dot.x + 0.5, dot.y + 0.5);
    return dot.item && Math.hypot(x + box.left - event.clientX, y + box.top - event.clientY) <= DOT_REACH;
  };
  const found = dots(line.item).find(near);
  if (!found || !line.items.includes(found.item)) return;
  line.go(line.items.indexOf(found.item));
  frame.say(`${place()} Answered ${nameOf(found.class)}.`);
}

clock.check();
