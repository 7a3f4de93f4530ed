// The page that asks for rough areas: polygons by mouse, pen or keys.

import { byId, el, isForeign, setText } from "./dom.js";
import { openFrame } from "./frame.js";
import { Line } from "./line.js";
import { fillPalette, keyOf, swatch } from "./palette.js";
import { drawCorner, drawCross, drawPolygon } from "./paint.js";
import { Drawing, simplify } from "./polygons.js";
import { Stage } from "./stage.js";

const REACH = { mouse: 9, pen: 12, touch: 18 }; // CSS pixels around a corner that grab it
const DRAWN = 7; // CSS pixels from which a press is a line and not a corner
const TOLERANCE = 1.5; // CSS pixels by which a line may be simplified
const STEP = 12;
const MOVES = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

const frame = await openFrame("coarse");
const { classes } = frame;
const byKey = new Map(classes.map((one) => [one.key, one]));
const byClass = new Map(classes.map((one) => [one.id, one]));
const draft = new Map(); // query -> what was drawn and not saved yet, kept while other images are looked at
const DRAFT = `weakseg-draft:${frame.state.run}:${frame.state.annotator}:`; // the same over a reload

const canvas = byId("drawing");
const stage = new Stage(byId("stage"), drawOver);
const line = new Line(frame, { kind: "coarse", show, read });
const mark = fillPalette(byId("classes"), classes, choose);
let drawing = null;
let chosen = classes[0];
let press = null; // what the pointer holds and where it was pressed: {corner, from} or {trail, from}
let pointer = null; // in image coordinates, for the line to the next corner
let cross = null; // the keyboard's place
let spot = null; // where the keyboard set its last corner
let picked = null; // the corner that the arrow keys move: {polygon, vertex, moved}

mark(chosen.id);
for (const [id, act] of [["save", save], ["close", close], ["void", cannotTell], ["undo", undo], ["redo", redo]]) byId(id).addEventListener("click", act);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("zoom-in").addEventListener("click", () => zoom(1));
byId("zoom-out").addEventListener("click", () => zoom(-1));
for (const button of document.querySelectorAll(".acts button")) button.addEventListener("mousedown", (event) => event.preventDefault());
canvas.addEventListener("pointerdown", down);
canvas.addEventListener("pointermove", move);
canvas.addEventListener("pointerup", up);
canvas.addEventListener("pointercancel", cancel);
canvas.addEventListener("dblclick", close);
canvas.addEventListener("pointerleave", () => {
  pointer = null;
  stage.draw();
});
stage.beforeWheel = (event) => stage.around(...stage.at(event));
document.addEventListener("keydown", onKey);

await line.begin();

function onKey(event) {
  const key = keyOf(event);
  if (press?.corner) {
    event.preventDefault(); // a corner is held by the pointer: nothing else meanwhile
    return;
  }
  if ((event.ctrlKey || event.metaKey) && !frame.covered) {
    if (key === "Enter") save();
    else if (key === "z") undo();
    else if (key === "Z" || key === "y") redo();
    else return;
    event.preventDefault();
    return;
  }
  if (isForeign(event)) return;
  const onButton = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement;
  if (key === "?") frame.help();
  else if (frame.covered || ((key === "Enter" || key === " ") && onButton)) return;
  else if (key === "PageDown") pick(1);
  else if (key === "PageUp") pick(-1);
  else if (key in MOVES) moveCross(...MOVES[key], event.shiftKey ? 1 : STEP);
  else if (key === "Backspace") undo();
  else if (event.repeat) return;
  else if (byKey.has(key)) choose(byKey.get(key));
  else if (key === "Enter") enter();
  else if (key === "Escape") picked ? letGo() : drop();
  else if (key === " ") cannotTell();
  else if (key === "+" || key === "=") zoom(1);
  else if (key === "-" || key === "_") zoom(-1);
  else if (key === ",") step(-1);
  else if (key === ".") step(1);
  else return;
  event.preventDefault();
}

function choose(one) {
  chosen = one;
  mark(one.id);
  drawing?.reclass(one.id);
  changed();
  frame.say(`Drawing ${one.name}.`);
}

// By mouse or pen

function down(event) {
  if (!line.shown || event.button !== 0) return;
  const [x, y] = stage.at(event);
  cross = spot = picked = null;
  canvas.setPointerCapture(event.pointerId);
  const corner = drawing.vertexAt(x, y, REACH[event.pointerType] / stage.scale);
  // A neighbour's corner becomes one of the open area too, and is not moved by it.
  const shared = drawing.open && corner?.polygon >= 0;
  // The first corner of the open area closes it; it is a click only if it does not move.
  press = corner && !shared ? { corner, moved: false } : { trail: [shared ? corner.point : [x, y]] };
  press.from = [x, y];
}

function move(event) {
  pointer = stage.at(event);
  if (press?.corner) {
    const far = Math.hypot(pointer[0] - press.from[0], pointer[1] - press.from[1]) * stage.scale;
    if (!press.moved && far > 2) {
      press.moved = true;
      drawing.grab();
    }
    if (press.moved) drawing.move(press.corner, ...pointer);
  } else if (press?.trail) {
    const fine = event.getCoalescedEvents?.() ?? [];
    press.trail.push(...(fine.length ? fine : [event]).map((one) => stage.at(one)));
  }
  if (line.shown) stage.draw();
}

function up() {
  if (!press || !line.shown) return;
  const { corner, trail, moved, from } = press;
  press = null;
  if (corner && !moved && corner.polygon === -1 && corner.vertex === 0) close();
  else if (trail) {
    const length = Math.max(0, ...trail.slice(1).map(([x, y]) => Math.hypot(x - from[0], y - from[1]))) * stage.scale;
    if (length < DRAWN) drawing.add(chosen.id, ...trail[0]);
    else {
      const fresh = !drawing.open;
      drawing.stroke(chosen.id, simplify(trail, TOLERANCE / stage.scale));
      if (fresh) drawing.close();
    }
  }
  changed();
}

function cancel() {
  if (press?.moved) drawing.undo();
  press = null;
  changed();
}

// By keys

function moveCross(dx, dy, by) {
  if (!line.shown) return;
  const { width, height } = drawing.size;
  cross ??= [width / 2, height / 2];
  const far = by / stage.scale;
  cross = [Math.min(width, Math.max(0, cross[0] + dx * far)), Math.min(height, Math.max(0, cross[1] + dy * far))];
  spot = null;
  if (picked) {
    if (!picked.moved) drawing.grab();
    picked.moved = true;
    drawing.move(picked, ...cross);
    changed();
  }
  follow();
  frame.say(`${Math.round(cross[0])} across, ${Math.round(cross[1])} down`);
}

/** Keep the cross in view. */
function follow() {
  stage.point = { x: cross[0] - 0.5, y: cross[1] - 0.5 };
  stage.hold = null;
  stage.draw();
}

/** Take the next or previous corner, for the arrow keys to move. */
function pick(by) {
  const all = drawing?.corners() ?? [];
  if (!all.length) {
    tell("There is no corner yet.", "");
    return;
  }
  const at = picked ? all.findIndex((one) => one.polygon === picked.polygon && one.vertex === picked.vertex) : by > 0 ? -1 : 0;
  const next = all[(at + by + all.length) % all.length];
  picked = { ...next, moved: false };
  cross = [...next.point];
  spot = null;
  follow();
  tell(`Corner ${next.vertex + 1} of ${byClass.get(next.class).name}: arrows move it, Enter lets it go.`, "");
}

function letGo() {
  picked = null;
  spot = cross; // Enter once more sets no corner on top
  tell("Corner left there.", "");
}

function enter() {
  if (!line.shown) return;
  if (picked) letGo();
  else if (cross && !spot) {
    spot = cross;
    drawing.add(chosen.id, ...cross);
    changed();
    frame.say(`Corner ${drawing.open.points.length} of ${chosen.name}.`);
  } else close();
}

// Steps

function close() {
  if (!drawing?.open) return;
  spot = picked = null;
  const { name } = byClass.get(drawing.open.class);
  const done = drawing.close();
  changed();
  tell(done ? `Area of ${name} closed.` : "An area needs three corners.", "");
}

function drop() {
  if (drawing?.drop()) changed();
}

function undo() {
  spot = picked = null;
  if (drawing?.undo()) {
    changed();
    tell("One step back.", "undone");
    return;
  }
  if (line.awaited) {
    line.past.then(undo);
    return;
  }
  const item = line.back(false);
  tell(item ? "Back to the image before." : "Nothing to undo.", "undone");
}

function redo() {
  picked = null;
  if (drawing?.redo()) changed();
}

function save() {
  if (!line.shown) return;
  if (drawing.open && !drawing.close()) {
    tell("An area is not closed: three corners, or Esc drops it.", "");
    return;
  }
  const { polygons } = drawing;
  draft.delete(line.item.query);
  keep(line.item.query, null);
  line.answer(structuredClone({ polygons }));
  tell(`${polygons.length} ${polygons.length === 1 ? "area" : "areas"} saved`, "done");
}

/** What was drawn stays a draft: who comes back finds it. */
function cannotTell() {
  if (!line.shown) return;
  if (drawing.polygons.length || drawing.open) keep(line.item.query, drawing);
  line.answer({ void: true });
  tell("Cannot tell", "done");
}

function step(by) {
  frame.say(line.step(by) ? place() : by > 0 ? "This is the last image loaded." : "This is the first image.");
}

function zoom(by) {
  if (!cross && pointer) stage.around(...pointer);
  stage.zoomBy(by);
}

function tell(text, kind) {
  setText(byId("last"), text);
  byId("last").dataset.kind = kind;
  frame.say(`${text} ${place()}`);
}

// What is shown

function show(item, bitmap) {
  byId("rest").hidden = item !== null;
  byId("work").toggleAttribute("data-resting", item === null);
  document.documentElement.dataset.query = item && bitmap ? item.query : "";
  drawing = press = cross = spot = picked = null;
  if (item && bitmap) {
    drawing = draft.get(item.query) ?? kept(item) ?? new Drawing(item.image, item.content?.polygons ?? []);
    draft.set(item.query, drawing);
    stage.zoom = 1;
  } else if (!item) {
    const [title, text] = line.asking ? ["One moment", "Looking for images."] : frame.resting();
    setText(byId("rest-title"), title);
    setText(byId("rest-text"), text);
  }
  byId("void").setAttribute("aria-pressed", String(item?.content?.void === true));
  const hint = item?.content ? "Answered; change it and save again." : "Choose a class, click its corners or draw around it.";
  setText(byId("question"), item ? (bitmap ? hint : "Loading the image") : "Nothing to answer");
  stage.show(item ? bitmap : null, null);
  changed();
}

function changed() {
  const areas = drawing?.polygons ?? [];
  byId("areas").replaceChildren(...areas.map(area));
  byId("close").disabled = !drawing?.open;
  byId("undo").disabled = !drawing?.past.length && !line.history.length;
  byId("redo").disabled = !drawing?.ahead.length;
  if (drawing?.past.length && line.shown) keep(line.item.query, drawing);
  stage.draw();
}

/** Minutes of drawing outlive a reload, also where nothing is saved yet; null = nothing to keep. */
function keep(query, what) {
  try {
    if (what) window.sessionStorage.setItem(DRAFT + query, JSON.stringify({ polygons: what.polygons, open: what.open }));
    else window.sessionStorage.removeItem(DRAFT + query);
  } catch {
    // switched off or full: it lives as long as the page
  }
}

function kept(item) {
  try {
    const found = JSON.parse(window.sessionStorage.getItem(DRAFT + item.query));
    return found && Object.assign(new Drawing(item.image, found.polygons), { open: found.open });
  } catch {
    return null;
  }
}

function area(polygon, at) {
  const one = byClass.get(polygon.class);
  const words = `${polygon.points.length} corners`;
  const remove = el("button", { type: "button", class: "quiet", text: "Remove", "aria-label": `Remove area ${at + 1}, ${one.name}` });
  remove.addEventListener("mousedown", (event) => event.preventDefault());
  remove.addEventListener("click", () => {
    picked = null;
    drawing.remove(at);
    if (document.activeElement === remove) canvas.focus();
    changed();
    tell(`Area of ${one.name} removed.`, "undone");
  });
  return el("li", {}, swatch(one), el("span", { class: "name", text: `${one.name}, ${words}` }), remove);
}

function drawOver(context) {
  if (!drawing) return;
  const place = ([x, y]) => stage.toScreen(x, y);
  for (const polygon of drawing.polygons) {
    const rings = [polygon.points, ...(polygon.holes ?? [])].map((points) => points.map(place));
    drawPolygon(context, rings, byClass.get(polygon.class), true);
    for (const corner of rings.flat()) drawCorner(context, ...corner, 3);
  }
  const { open } = drawing;
  const trail = press?.trail && press.trail.length > 2 ? press.trail : [];
  if (open || trail.length) {
    const one = open ? byClass.get(open.class) : chosen;
    const next = trail.length ? trail : pointer && !press && !cross ? [pointer] : cross ? [cross] : [];
    drawPolygon(context, [[...(open?.points ?? []), ...next].map(place)], one, false);
    (open?.points ?? []).forEach((point, at) => drawCorner(context, ...place(point), at === 0 ? 6 : 4));
  }
  if (cross) drawCross(context, ...place(cross));
}

function place() {
  return line.item ? `Image ${line.at + 1} of ${line.items.length} loaded.` : "Nothing left to answer.";
}

function read(answer) {
  if (!answer) return null;
  if (answer.void) return { void: true };
  return answer.polygons ? { polygons: answer.polygons } : null;
}
