// What all pages share: the bar on top, the state of the run, answers on their way, the help, the live region.

import { ApiError, blob, get, post, speakFor } from "./api.js";
import { Clock } from "./clock.js";
import { byId, el, setText } from "./dom.js";
import { Images } from "./images.js";
import { Outbox, openStorage } from "./outbox.js";
import { withKeys } from "./palette.js";
import { attend, signOut } from "./presence.js";

const PAGES = [
  { kind: "pixel", path: "/", title: "Points" },
  { kind: "proportions", path: "/proportions", title: "Proportions" },
  { kind: "coarse", path: "/coarse", title: "Areas" },
  { kind: "review", path: "/review", title: "Review" },
];
const BEAT = 2500;

/** Start a page; resolves once the state of the run is known. */
export async function openFrame(kind) {
  const frame = new Frame(kind);
  await frame.start();
  return frame;
}

class Frame {
  constructor(kind) {
    this.kind = kind;
    this.clock = new Clock().listen();
    this.images = new Images(blob);
    this.state = null;
    this.progress = {};
    this.classes = [];
    this.onState = () => {};
    this.onStored = () => {};
    this.onRefused = () => {};
    this.held = this.spare = () => []; // images, of which others may have those to spare when the page is left
    this.refusals = new Map(); // reason -> its message and how many answers it is about
  }

  async start() {
    this.#build();
    for (let wait = 500; !this.state; wait = Math.min(8000, 2 * wait)) {
      try {
        this.#take(await get("/api/state"));
      } catch (error) {
        this.fault(error);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
    this.fault(null);
    const { run, annotator, mark, classes } = this.state;
    speakFor(annotator);
    this.classes = withKeys(classes);
    this.outbox = new Outbox({
      post,
      owner: `${run}:${annotator}`,
      mark,
      storage: openStorage(),
      stored: (reply, batch) => {
        this.setProgress(reply.progress);
        const late = reply.answers.filter((answer) => answer.late).length;
        if (late) this.note(`${late === 1 ? "An answer" : `${late} answers`} came after the round was closed: kept for the next training.`);
        this.onStored(reply, batch);
      },
      refused: (entry, error) => {
        this.#notTaken(error.message);
        this.onRefused(entry, error);
      },
      changed: (status) => this.#saved(status),
    });
    this.#saved({ waiting: this.outbox.waiting, error: null, kept: this.outbox.kept });
    const { strange } = this.outbox;
    if (strange) {
      const waits = strange === 1 ? "One answer given under an earlier link waits" : `${strange} answers given under an earlier link wait`;
      this.note(`${waits} in this browser: this server does not know their questions. They are sent when the one that asked them is back.`, true);
    }
    window.addEventListener("beforeunload", (event) => {
      if (this.outbox.waiting > 0 && !this.outbox.kept) event.preventDefault();
    });
    this.#poll();
    attend(this);
  }

  /** Ask for the state now. */
  async refresh() {
    this.#take(await get("/api/state"));
  }

  /** Tell a screen reader. */
  say(text) {
    // The same words twice are two messages: something must differ, or only the first is read out.
    byId("said").textContent = byId("said").textContent === text ? `${text}\u00a0` : text;
  }

  /** A message that stays until it is put away. */
  note(text, bad = false) {
    const close = el("button", { type: "button", class: "quiet", text: "Put away" });
    const line = el("p", { class: bad ? "note bad" : "note" }, el("span", { text }), close);
    close.addEventListener("click", () => line.remove());
    const notes = byId("notes");
    const there = [...notes.children].find((other) => other.firstChild.textContent === text);
    if (!there) notes.append(line);
    return there ?? line;
  }

  /** Say that one more answer was not taken, in one message for each reason. */
  #notTaken(reason) {
    const told = this.refusals.get(reason);
    const count = told?.line.isConnected ? told.count + 1 : 1;
    if (count > 1) told.line.firstChild.textContent = `${count} answers were not taken: ${reason}`;
    const line = count > 1 ? told.line : this.note(`One answer was not taken: ${reason}`, true);
    this.refusals.set(reason, { line, count });
  }

  /** What keeps the page from going on; null = nothing any more. */
  fault(error) {
    const text = !error
      ? ""
      : error.status === 401
        ? "You are signed out. Open the link that weakseg printed once more; answers not sent yet are kept here."
        : error.code === "other_annotator"
          ? `Somebody else signed in here: reload to go on as them, or open your own link again. Answers not sent yet are kept for ${this.state.annotator}.`
          : `${error.message} Trying again.`;
    setText(byId("fault"), text);
    byId("fault").hidden = !text;
  }

  setProgress(progress) {
    this.progress = progress ?? {};
    this.showProgress();
  }

  /** Draw the progress of the round and of me, answers on their way included. */
  showProgress() {
    const own = this.progress[this.kind];
    byId("progress").hidden = !own;
    if (!own) return;
    const waiting = this.outbox?.delta ?? 0;
    const answered = Math.max(0, own.answered + waiting);
    const bar = byId("bar");
    bar.max = Math.max(1, own.needed);
    bar.value = Math.min(answered, own.needed);
    const more = own.needed < own.asked ? ` (${own.asked} asked)` : "";
    setText(byId("count"), `${answered} of ${own.needed}${more}`);
    const parts = [`${Math.max(0, own.mine + waiting)} by me`];
    if (own.median_seconds !== null) parts.push(`median ${seconds(own.median_seconds)}`);
    if (own.seconds_left !== null && answered < own.needed) parts.push(`about ${duration(own.seconds_left)} left`);
    setText(byId("pace"), parts.join(" · "));
  }

  /** Open or close the help. */
  help() {
    const dialog = byId("help");
    if (dialog.open) dialog.close();
    else {
      dialog.showModal();
      dialog.scrollTop = 0;
      this.clock.hold("help");
    }
  }

  get covered() {
    return byId("help").open;
  }

  /** What the page says while there is nothing to ask. */
  resting() {
    const { phase, driver, round, rounds } = this.state;
    if (phase === "finished") return ["All rounds are done", "Thank you. The run is finished; nothing is asked any more."];
    const other = PAGES.find((page) => page.kind !== this.kind && this.progress[page.kind]?.open);
    if (other) return ["Nothing left here", `There is more to do on the page ${other.title}.`];
    if (phase === "waiting") {
      const next = driver ? "The model is training on the answers." : "No run is at work on the answers just now: start weakseg active.";
      return ["This round is answered", `${next} The next questions appear here by themselves.`];
    }
    const name = round === null ? "this round" : `round ${round + 1} of ${rounds}`;
    return ["Nothing left for you just now", `Others hold the rest of ${name}. What they leave appears here by itself.`];
  }

  /** How many answers a page still wants, where some of them may be mine. */
  #left(kind) {
    const own = this.progress[kind];
    return own?.open ? own.needed - own.answered : 0;
  }

  #take(state) {
    const before = this.state;
    this.state = state;
    setText(byId("run"), state.run);
    const where = state.phase === "asking" ? `round ${(state.round ?? 0) + 1} of ${state.rounds}` : state.phase;
    setText(byId("round"), where);
    setText(byId("who"), state.annotator);
    this.setProgress(state.progress);
    this.#nav();
    if (before) this.onState(state, before);
  }

  async #poll() {
    for (let beat = 1; ; beat += 1) {
      await new Promise((resolve) => setTimeout(resolve, BEAT));
      const often = this.state.phase !== "asking" || this.idle || !byId("fault").hidden;
      if (document.visibilityState === "hidden" || (!often && beat % 4)) continue;
      try {
        await this.refresh();
        this.fault(null);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this.fault(error);
      }
    }
  }

  #saved({ waiting, error, kept }) {
    const state = byId("saved");
    state.dataset.state = error ? "failing" : waiting ? "sending" : "saved";
    const many = `${waiting} ${waiting === 1 ? "answer" : "answers"}`;
    if (error?.status === 401 || error?.code === "other_annotator") this.fault(error);
    state.title = error?.message ?? "";
    setText(byId("saved-text"), error ? `${many} not sent yet, trying again` : waiting ? "saving" : "saved");
    byId("retry").hidden = !error;
    if (error && !kept) this.note("This browser keeps no answers: leave this page open until all are sent.", true);
    this.showProgress();
  }

  #nav() {
    const pages = PAGES.filter((page) => page.kind === "review" || page.kind === this.kind || this.state.pages.includes(page.kind));
    const links = pages.map((page) => {
      const left = page.kind === this.kind ? 0 : this.#left(page.kind);
      return el(
        "a",
        { href: page.path, "aria-current": page.kind === this.kind ? "page" : null },
        page.title,
        ...(left > 0 ? [" ", el("span", { class: "badge" }, String(left), el("span", { class: "unseen", text: " left" }))] : []),
      );
    });
    const shown = links.map((link) => link.outerHTML).join("");
    if (this.shown === shown) return;
    this.shown = shown;
    byId("nav").replaceChildren(...links);
  }

  #build() {
    const header = el(
      "header",
      {},
      el("p", { class: "run" }, el("b", { id: "run", text: "weakseg" }), " ", el("span", { id: "round" })),
      el("nav", { id: "nav", "aria-label": "Pages" }),
      el(
        "div",
        { id: "progress", class: "progress", role: "group", "aria-label": "Progress of the round" },
        el("progress", { id: "bar", value: 0, max: 1, "aria-label": "Answered in this round" }),
        el("span", { id: "count", class: "figure" }),
      ),
      el("p", { id: "saved", class: "saved", "data-state": "saved" }, el("span", { id: "saved-text", text: "saved" }), el("button", { id: "retry", type: "button", class: "quiet", text: "Send now", hidden: true, on: { click: () => this.outbox.retry() } })),
      el("p", { id: "who", class: "who" }),
      el("button", { id: "sign-out", type: "button", class: "quiet", text: "Sign out", on: { click: () => signOut(this) } }),
      el("button", { id: "ask-help", type: "button", class: "quiet", "aria-label": "Help", "aria-keyshortcuts": "?", text: "?", on: { click: () => this.help() } }),
    );
    document.body.prepend(
      header,
      el("p", { id: "fault", class: "fault", role: "alert", hidden: true }),
      el("div", { id: "notes", role: "status" }),
      el("p", { id: "said", class: "unseen", role: "status", "aria-live": "polite" }),
    );
    const dialog = byId("help");
    dialog.addEventListener("close", () => this.clock.release("help"));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    byId("close-help").addEventListener("click", () => dialog.close());
    for (const button of document.querySelectorAll("header button, .tools button")) {
      button.addEventListener("mousedown", (event) => event.preventDefault());
    }
  }
}

/** Seconds for people: 1.4 s; nothing where they are not known. */
export function seconds(value) {
  if (value === null) return "";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
}

/** A length of time for people: 40 s, 3 min, 1 h 20 min. */
export function duration(value) {
  if (value < 60) return `${Math.max(1, Math.round(value))} s`;
  const minutes = Math.round(value / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
