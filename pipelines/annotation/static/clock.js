// Honest time: only while the point is visible and the page focused; idle over 30 s is not counted.

export const IDLE = 30_000;

const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel"];

/** Counts the time that a person looked at one question. */
export class Clock {
  #now;
  #present;
  #running = false;
  #total = 0;
  #from = 0;
  #sign = 0;
  #held = new Set();

  /**
   * @param {object} options For tests: `now` gives milliseconds, `present` whether the page is visible and focused.
   */
  constructor({ now = () => performance.now(), present = isPresent } = {}) {
    this.#now = now;
    this.#present = present;
  }

  /** Watch the page. */
  listen() {
    const check = () => this.check();
    document.addEventListener("visibilitychange", check);
    for (const type of ["focus", "blur", "pageshow", "pagehide"]) window.addEventListener(type, check);
    for (const type of SIGNS) window.addEventListener(type, () => this.sign(), { capture: true, passive: true });
    return this;
  }

  /** A question has appeared. */
  start() {
    this.#total = 0;
    this.#held.delete("nothing");
    this.#from = this.#sign = this.#now();
    this.#running = this.#present() && this.#held.size === 0;
  }

  /** Nothing is shown: nothing is counted until the next question. */
  stop() {
    this.hold("nothing");
  }

  /** Something covers the question (the help): do not count until it is released. */
  hold(reason) {
    this.#held.add(reason);
    this.check();
  }

  release(reason) {
    this.#held.delete(reason);
    this.check();
  }

  /** The person has moved or pressed something. */
  sign() {
    this.#settle();
    this.#sign = this.#now();
  }

  /** The page may have been hidden, shown, left or entered. */
  check() {
    this.#settle();
    const running = this.#present() && this.#held.size === 0;
    if (running && !this.#running) this.#sign = this.#now();
    this.#running = running;
  }

  /** Milliseconds since the person last moved or pressed something. */
  get still() {
    return this.#now() - this.#sign;
  }

  /** Seconds counted since the question appeared. */
  seconds() {
    this.#settle();
    return this.#total / 1000;
  }

  #settle() {
    const now = this.#now();
    if (this.#running) this.#total += Math.max(0, Math.min(now, this.#sign + IDLE) - this.#from);
    this.#from = now;
  }
}

function isPresent() {
  return document.visibilityState === "visible" && document.hasFocus();
}
