// The page where disagreements and one's own earlier answers are looked at again and changed.

import { ApiError, get } from "./api.js";
import { byId, el, isForeign, setText } from "./dom.js";
import { openFrame, seconds } from "./frame.js";
import { fillPalette, keyOf, swatch } from "./palette.js";
import { drawInset, drawMarker } from "./paint.js";
import { Stage } from "./stage.js";

const ACROSS = 25;
const PAGE = 50;

const frame = await openFrame("review");
const { classes, clock, images, outbox } = frame;
const byKey = new Map(classes.map((one) => [one.key, one]));
const byClass = new Map(classes.map((one) => [one.id, one]));
const VOID = frame.state.void;

const inset = byId("inset");
const stage = new Stage(byId("stage"), drawOver);
const mark = fillPalette(byId("classes"), classes, (one) => change(one.id));
let cases = [];
let buttons = [];
let at = -1;
let kind = "differing";
let outline = null;

byId("void").addEventListener("mousedown", (event) => event.preventDefault());
byId("void").addEventListener("click", () => change(VOID));
byId("previous").addEventListener("click", () => go(at - 1));
byId("next").addEventListener("click", () => go(at + 1));
byId("zoom-in").addEventListener("click", () => stage.zoomBy(1));
byId("zoom-out").addEventListener("click", () => stage.zoomBy(-1));
byId("differing").addEventListener("click", () => open("differing"));
byId("mine").addEventListener("click", () => open("mine"));
byId("more").addEventListener("click", more);
new ResizeObserver(drawSmall).observe(inset);
document.addEventListener("keydown", press);

await outbox.settled(3000);
// Before that a choice would be lost: the page opens its first list now.
for (const id of ["differing", "mine"]) byId(id).disabled = false;
await open(new URLSearchParams(window.location.search).get("of") === "me" ? "mine" : "differing");

async function open(which) {
  kind = which;
  for (const id of ["differing", "mine"]) byId(id).setAttribute("aria-pressed", String(id === which));
  cases = [];
  at = -1;
  await more();
  if (kind === which) go(0);
}

async function more() {
  const [from, which] = [cases.length, kind];
  try {
    if (kind === "differing") {
      const { disagreements } = await get("/api/review");
      if (kind !== which) return; // the other list was opened meanwhile
      cases = disagreements.map((given) => toCase(given, given.answers));
    } else {
      const before = from ? `&before=${encodeURIComponent(cases[from - 1].id)}` : "";
      const { history } = await get(`/api/history?kind=pixel&limit=${PAGE}${before}`);
      if (kind !== which) return;
      cases.push(...history.map((given) => toCase(given, [])));
    }
    frame.fault(null);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    frame.fault(error);
  }
  byId("more").hidden = kind === "differing" || cases.length - from < PAGE;
  list();
}

function toCase(given, answers) {
  const query = given.image.queries.find((one) => one.query === given.query);
  const answer = query.answer ?? given.answer;
  if (answer) outbox.known(query.query, answer.id);
  return { ...query, image: given.image, round: given.round, answers, decision: given.decision, id: answer?.id, mine: answer?.class ?? null };
}

function list() {
  buttons = cases.map((one, index) => {
    const title = `round ${one.round + 1}: ${one.answers.length ? one.answers.map((answer) => nameOf(answer.class)).join(" / ") : nameOf(one.mine)}`;
    const button = el("button", { type: "button", class: "case" }, el("span", { text: title }), el("span", { class: "muted", text: standing(one) }));
    button.addEventListener("click", () => go(index));
    return button;
  });
  const within = byId("cases").contains(document.activeElement);
  byId("cases").replaceChildren(...buttons.map((button) => el("li", {}, button)));
  if (within) buttons[at]?.focus();
}

function standing(one) {
  if (one.changed) return `changed to ${nameOf(one.mine)}`;
  if (!one.answers.length) return "mine";
  if (one.decision === null) return "undecided: will be asked again";
  return one.decision === VOID ? "undecided: nobody left to ask" : `majority: ${nameOf(one.decision)}`;
}

async function go(index) {
  if (cases.length && (index < 0 || index >= cases.length)) return;
  at = cases.length ? index : -1;
  outline = null;
  clock.stop();
  const one = cases[at] ?? null;
  buttons.forEach((button, other) => button.parentElement.setAttribute("aria-current", String(other === at)));
  buttons[at]?.scrollIntoView({ block: "nearest" });
  byId("rest").hidden = one !== null;
  byId("work").toggleAttribute("data-resting", one === null);
  stage.show(null, null);
  details(one);
  document.documentElement.dataset.query = "";
  if (!one) return;
  try {
    const [bitmap, drawn] = await Promise.all([images.load(one.image.url), one.outline ? images.load(one.outline) : null]);
    if (cases[at] !== one) return;
    outline = drawn;
    stage.show(bitmap, one);
    drawSmall();
    clock.start();
    document.documentElement.dataset.query = one.query;
    for (const other of cases.slice(at + 1, at + 3)) images.prepare([other.image.url]);
  } catch (error) {
    if (cases[at] === one) frame.fault(error instanceof ApiError ? error : { message: "An image cannot be shown." });
  }
}

function details(one) {
  mark(one ? one.mine : null);
  byId("void").setAttribute("aria-pressed", String(one?.mine === VOID));
  inset.hidden = !one;
  if (!one) {
    const none = kind === "differing" ? ["No disagreements", "Points that several people answered differently appear here once you have answered them yourself."] : ["No answers yet", "What you answer appears here."];
    setText(byId("rest-title"), none[0]);
    setText(byId("rest-text"), none[1]);
    byId("says").replaceChildren();
    setText(byId("question"), "");
    return;
  }
  setText(byId("question"), one.answers.length ? `Answered differently; ${standing(one)}.` : "My answer; a key changes it.");
  byId("says").replaceChildren(
    ...one.answers.map((answer) =>
      el(
        "li",
        {},
        byClass.has(answer.class) ? swatch(byClass.get(answer.class)) : el("span", { class: "swatch" }),
        el("span", { class: "name", text: `${answer.annotator}${answer.mine ? " (me)" : ""}: ${nameOf(answer.class)}` }),
        el("span", { class: "muted", text: seconds(answer.seconds) }),
      ),
    ),
  );
}

function press(event) {
  if (isForeign(event)) return;
  const key = keyOf(event);
  const onButton = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement;
  if (key === "?") frame.help();
  else if (frame.covered || (key === " " && onButton)) return;
  else if (byKey.has(key)) {
    if (!event.repeat) change(byKey.get(key).id);
  } else if (key === " ") {
    if (!event.repeat) change(VOID);
  } else if (key === "ArrowRight" || key === "ArrowDown") go(at + 1);
  else if (key === "ArrowLeft" || key === "ArrowUp") go(at - 1);
  else if (key === "+" || key === "=") stage.zoomBy(1);
  else if (key === "-" || key === "_") stage.zoomBy(-1);
  else return;
  event.preventDefault();
}

function change(classId) {
  const one = cases[at];
  if (!one || !stage.bitmap) return;
  if (one.mine !== classId) {
    outbox.put(one.query, { class: classId }, Math.round(clock.seconds() * 1000) / 1000, Number(one.mine === null));
    one.mine = classId;
    one.changed = true;
    for (const answer of one.answers) if (answer.mine) answer.class = classId;
    list();
  }
  const what = `My answer: ${nameOf(classId)}`;
  setText(byId("last"), what);
  byId("last").dataset.kind = "done";
  frame.say(what);
  if (at + 1 < cases.length) go(at + 1);
  else {
    details(one);
    go(at);
  }
}

function nameOf(classId) {
  return classId === VOID ? "cannot tell" : (byClass.get(classId)?.name ?? "taken back");
}

function drawOver(context) {
  const one = cases[at];
  if (!one) return;
  if (outline) context.drawImage(outline, stage.left, stage.top, stage.bitmap.width * stage.scale, stage.bitmap.height * stage.scale);
  if (one.kind === "region") return;
  const [x, y] = stage.toScreen(one.x + 0.5, one.y + 0.5);
  drawMarker(context, x, y, stage.scale);
  inset.dataset.corner = x > stage.holder.clientWidth / 2 ? "left" : "right";
}

function drawSmall() {
  if (cases[at] && stage.bitmap) drawInset(inset, stage.bitmap, cases[at], ACROSS, outline);
}
