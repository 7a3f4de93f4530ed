// The questions of a page in a line: which one is shown, which come next, which were answered and can be undone.

import { ApiError, get } from "./api.js";

const FURTHER = 2; // images loaded ahead
const HISTORY = 100; // answers in a piece of the history
const NEAR = 20; // answers that can be undone, below which older ones are asked for

/**
 * Items are {query, kind, y, x, outline, image, round, content, spent}: `image` is {handle, url, height, width, dots},
 * `content` what was answered ({class} and so on, null = nothing), `spent` seconds of earlier looks at it.
 */
export class Line {
  /**
   * @param {object} frame Of frame.js.
   * @param {object} options
   * @param {string} options.kind pixel, proportions or coarse.
   * @param {(item: object|null, bitmap: ImageBitmap|null) => void} options.show Shows an item, its image once it is there, or that nothing is left.
   * @param {(answer: object|null) => object|null} options.read The content of an answer as the server gives it.
   */
  constructor(frame, { kind, show, read }) {
    this.frame = frame;
    this.kind = kind;
    this.show = show;
    this.read = read;
    this.items = [];
    this.at = -1;
    this.shown = null;
    this.history = [];
    this.last = null;
    this.known = new Map();
    this.older = true; // whether the server may have answers before those in the history
    this.past = null; // their coming
    this.asking = null;
    frame.held = () => [...new Set(this.items.filter((item) => !item.content).map((item) => item.image.handle))];
    frame.spare = () => {
      const waiting = [...this.known.values()].filter((item) => frame.outbox.pending(item.query));
      return frame.held().filter((handle) => !waiting.some((item) => item.image.handle === handle));
    };
    frame.onState = () => this.#state();
    frame.onRefused = (entry, error) => this.#refused(entry, error);
    frame.onStored = () => this.at < 0 && frame.outbox.waiting === 0 && this.more();
  }

  get item() {
    return this.items[this.at] ?? null;
  }

  /** What waits is sent first, so that the server knows what was answered; then go on at the first open question. */
  async begin() {
    await this.#earlier(this.frame.outbox.settled(3000).then(() => this.#past()));
    await this.more();
    if (this.at < 0) this.forward();
  }

  /** Answer the shown item and go on at once. */
  answer(content) {
    const { item } = this;
    const seconds = item.spent + this.frame.clock.seconds();
    item.spent = 0;
    this.#put(item, content, seconds);
    this.history = this.history.filter((query) => query !== item.query);
    this.history.push(item.query);
    this.forward(false);
  }

  /**
   * The item answered last, shown again; null where there is none. With `withdraw` its answer is taken back, unless its
   * round is closed, which asks nothing again: there the next answer replaces it.
   */
  back(withdraw) {
    const query = this.history.pop();
    if (this.older && !this.past && this.history.length < NEAR) this.#earlier(this.#past());
    if (query === undefined) return null;
    const item = this.known.get(query);
    if (withdraw && item.round === this.frame.state.round) this.#put(item, null, 0);
    if (!this.items.includes(item)) {
      // What nobody answered before its round was closed is not asked again.
      const ahead = [...this.known.values()].filter(
        (other) => other.image === item.image && !this.items.includes(other) && (other.content || other === item),
      );
      this.items.unshift(...ahead);
      this.at += ahead.length;
    }
    this.go(this.items.indexOf(item));
    return item;
  }

  /** Go to the next open item, else to where there is one, else rest. */
  forward(leave = true) {
    const open = (item) => !item.content;
    let next = this.items.findIndex((item, index) => index > this.at && open(item));
    if (next < 0) next = this.items.findIndex(open);
    this.go(next, leave);
  }

  /** One step without answering; false at the end. */
  step(by) {
    const from = this.at < 0 ? (by < 0 ? this.items.length : -1) : this.at;
    const to = from + by;
    if (to < 0 || to >= this.items.length) return false;
    this.go(to);
    return true;
  }

  /** Show an item by its place; -1 = nothing to show. */
  go(index, leave = true) {
    if (leave && this.shown) this.shown.spent += this.frame.clock.seconds();
    this.shown = null;
    this.at = index;
    const { item } = this;
    this.frame.idle = !item;
    this.frame.clock.stop();
    if (!item) {
      this.show(null, null);
      this.more();
      return;
    }
    const bitmap = this.frame.images.ready(item.image.url);
    if (bitmap) this.#visible(item, bitmap);
    else {
      this.show(item, null);
      this.#load(item);
    }
    this.#ahead();
  }

  /** Ask for more images; at most one request at a time. */
  more() {
    this.asking ??= this.#ask().finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  #visible(item, bitmap) {
    this.show(item, bitmap);
    this.shown = item;
    this.frame.clock.start();
  }

  async #load(item) {
    for (let wait = 500; this.item === item; wait = Math.min(8000, 2 * wait)) {
      try {
        const bitmap = await this.frame.images.load(item.image.url);
        this.frame.fault(null);
        if (this.item === item && this.shown !== item) this.#visible(item, bitmap);
        return;
      } catch (error) {
        if (this.item !== item) return;
        if (error instanceof ApiError && (error.status === 403 || error.status === 404)) {
          this.#forget(item.image);
          this.frame.note("An image was given to somebody else meanwhile.");
          return;
        }
        this.frame.fault(error instanceof ApiError ? error : { message: "An image cannot be shown." });
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /** Prepare the next images, and ask for more where few are left. */
  #ahead() {
    const { item } = this;
    const urls = new Set();
    const further = new Set();
    for (const other of this.items.slice(this.at + 1)) {
      if (other.content || other.image === item?.image) continue;
      further.add(other.image);
      if (urls.size < FURTHER) urls.add(other.image.url);
    }
    const next = this.items.find((other, index) => index > this.at && !other.content);
    if (next?.outline) urls.add(next.outline);
    this.frame.images.prepare(urls);
    if (further.size < FURTHER && this.frame.state.phase === "asking" && !this.exhausted) this.more();
  }

  async #ask() {
    const open = new Set(this.items.filter((item) => !item.content).map((item) => item.image));
    let work;
    try {
      work = await get(`/api/work?kind=${this.kind}&images=${Math.min(8, Math.max(1, open.size) + FURTHER + this.frame.outbox.waiting)}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.frame.fault(error);
      return; // asked again with the next state or step
    }
    this.last ??= work.last ?? null;
    this.frame.setProgress(work.progress);
    if (work.round !== null && work.round !== this.round) this.#newRound(work.round);
    const before = this.items.length;
    for (const image of work.images) this.items.push(...this.#items(image, work.round).filter((item) => !this.items.includes(item)));
    // Nothing new although more could be had: no need to ask again before something changes.
    this.exhausted = this.items.length === before;
    if (this.at < 0 && this.items.some((item) => !item.content)) this.forward();
    else this.#ahead();
  }

  #newRound(round) {
    this.round = round;
    // What is looked at stays: a key on its way must not answer another question. Its answer counts, though late.
    const { item } = this;
    this.items = item ? [item] : [];
    this.at = this.items.length - 1;
  }

  #items(given, round) {
    const image = { handle: given.image, url: given.url, height: given.height, width: given.width, dots: given.dots };
    return given.queries.map((query) => {
      const known = this.known.get(query.query);
      if (known) return known;
      if (query.answer) this.frame.outbox.known(query.query, query.answer.id);
      const pending = this.frame.outbox.pending(query.query);
      const content = this.read(pending ? { ...pending } : query.answer);
      const item = { ...query, image, round, content, spent: 0 };
      this.known.set(item.query, item);
      return item;
    });
  }

  /** Whether what was answered last is still on its way here. */
  get awaited() {
    return this.history.length === 0 && this.past !== null;
  }

  #earlier(coming) {
    this.past = coming.finally(() => {
      this.past = null;
    });
    return this.past;
  }

  /** The next older piece of the history. */
  async #past() {
    // The oldest one known is still current, which the server needs to find it.
    const oldest = this.history.length ? this.frame.outbox.current(this.history[0]) : null;
    const before = oldest ? `&before=${oldest}` : "";
    try {
      const { history } = await get(`/api/history?kind=${this.kind}&limit=${HISTORY}${before}`);
      for (const entry of history) {
        this.#items(entry.image, entry.round);
        // Withdrawn answers are left out of the history: one without content says that the person cannot tell.
        const item = this.known.get(entry.query);
        if (this.kind !== "pixel" && !this.frame.outbox.pending(entry.query)) item.content ??= { void: true };
      }
      const fresh = history.map((entry) => entry.query).filter((query) => this.known.get(query).content && !this.history.includes(query));
      this.history.unshift(...fresh.reverse());
      this.older = history.length === HISTORY;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.frame.fault(error);
    }
  }

  #put(item, content, seconds) {
    const delta = Number(content !== null) - Number(item.content !== null);
    item.content = content;
    this.frame.outbox.put(item.query, content ?? { [ABSENT[this.kind]]: null }, Math.round(seconds * 1000) / 1000, delta);
  }

  #state() {
    this.exhausted = false;
    if (this.at < 0) this.show(null, null);
    if (this.frame.state.phase === "asking" && this.at < 0) this.more();
    else if (this.frame.state.phase === "asking" && this.frame.state.round !== this.round) this.more();
  }

  #refused(entry, error) {
    const item = this.known.get(entry.query);
    if (!item) return;
    if (error.code === "conflict") item.content = this.read(error.current ?? null);
    else item.content = null;
    if (["lease_lost", "not_yours", "unknown_query"].includes(error.code)) this.#forget(item.image);
    this.history = this.history.filter((query) => this.known.get(query)?.content);
    if (this.item === item) this.show(item, this.frame.images.ready(item.image.url));
  }

  #forget(image) {
    const { item } = this;
    const gone = (other) => other.image === image && !other.content;
    for (const other of this.items.filter(gone)) this.known.delete(other.query);
    const after = this.items.slice(this.at + 1);
    this.items = this.items.filter((other) => !gone(other));
    this.history = this.history.filter((query) => this.known.has(query));
    if (item && this.items.includes(item)) {
      this.at = this.items.indexOf(item);
      return;
    }
    this.shown = null;
    const next = after.find((other) => this.items.includes(other));
    this.at = next ? this.items.indexOf(next) - 1 : -1;
    this.forward(false);
  }
}

const ABSENT = { pixel: "class", proportions: "proportions", coarse: "polygons" };
