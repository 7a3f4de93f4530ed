// Answers on their way to the server: in order, kept in the browser until acknowledged, tried again until they are.

import { ApiError } from "./api.js";

const BATCH = 50;
const WAITS = [300, 600, 1200, 2500, 5000, 8000]; // ms, the last one from then on
const CONFLICTS = 3;
const BYTES = 400_000; // of a batch; the server takes 1 MiB

// What the server says of an answer itself. Any other failure (signed out, a proxy's page, no connection) is of the way
// there: the answer is kept and sent again.
const FINAL = new Set(["conflict", "lease_lost", "not_yours", "unknown_query", "unknown_image", "bad_request", "too_large"]);

/**
 * The queue of one annotator in one run.
 *
 * An entry is {name, query, content, seconds, replaces, delta, mark, adopted}: `content` is what the server takes ({class},
 * {proportions}, {polygons} or {void}), `replaces` the id that it supersedes, undefined while an earlier entry of the same
 * query is still unacknowledged, `delta` by how much it changes the number of answers (+1, 0, -1), `mark` that of the server
 * whose query it is: another does not know it, so that the entry waits in the browser and is not sent.
 */
export class Outbox {
  #post;
  #prefix;
  #mark;
  #storage;
  #queue = [];
  #ids = new Map(); // query -> id of the current answer as far as the server has told
  #sending = false;
  #failures = 0;
  #timer = null;
  #made = 0;
  #most = BATCH;
  #idle = [];

  /**
   * @param {object} options
   * @param {(path: string, body: object) => Promise<object>} options.post
   * @param {string} options.owner Run and annotator: others' entries are left alone.
   * @param {string} options.mark Tells servers apart that do not know each other's queries.
   * @param {Storage|null} options.storage Where entries survive a reload.
   * @param {(reply: object) => void} options.stored Called with every acknowledgement.
   * @param {(entry: object, error: Error) => void} options.refused Called with what the server will never take.
   * @param {(status: object) => void} options.changed Called with {waiting, error, retryIn, kept}.
   */
  constructor({ post, owner, mark, storage, stored, refused, changed }) {
    this.#post = post;
    this.#prefix = `weakseg-answer:${owner}:`;
    this.#mark = mark;
    this.#storage = storage;
    this.stored = stored;
    this.refused = refused;
    this.changed = changed;
    this.kept = storage !== null;
    this.error = null;
    this.strange = 0; // entries that wait for another server
    this.#adopt();
    window.addEventListener("online", () => this.retry());
  }

  get waiting() {
    return this.#queue.length;
  }

  /** By how much the answers not yet acknowledged change the number of answers. */
  get delta() {
    return this.#queue.reduce((total, entry) => total + entry.delta, 0);
  }

  /** The server says which answer to a query is current; what waits here is newer. */
  known(query, id) {
    if (!this.#queue.some((entry) => entry.query === query)) this.#ids.set(query, id);
  }

  /** The id of the current answer to a query as far as the server has told, else null. */
  current(query) {
    return this.#ids.get(query) ?? null;
  }

  /** What waits for a query, newest first; undefined = nothing. */
  pending(query) {
    return this.#queue.findLast((entry) => entry.query === query)?.content;
  }

  /** Queue an answer and send it as soon as those before it are acknowledged. */
  put(query, content, seconds, delta) {
    const behind = this.#queue.some((entry) => entry.query === query);
    // In order of time; two tabs may make one at the same moment.
    const when = `${Date.now().toString(36).padStart(9, "0")}-${String(this.#made++).padStart(6, "0")}`;
    const name = `${this.#prefix}${when}-${Math.random().toString(36).slice(2, 8)}`;
    const replaces = behind ? undefined : (this.#ids.get(query) ?? null);
    const entry = { name, query, content, seconds, replaces, delta, mark: this.#mark };
    this.#queue.push(entry);
    this.#keep(entry);
    this.#tell();
    if (!this.#timer) this.#send();
  }

  /** Try again now. */
  retry() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#send();
  }

  /** Resolves when nothing waits, or after so many milliseconds. */
  settled(patience) {
    if (this.#queue.length === 0) return Promise.resolve();
    this.retry();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      setTimeout(resolve, patience);
    });
  }

  async #send() {
    if (this.#sending || this.#queue.length === 0) return;
    this.#sending = true;
    const batch = this.#batch();
    try {
      const answers = batch.map(({ query, content, seconds, replaces }) => ({ query, ...content, seconds, replaces }));
      const reply = await this.#post("/api/answers", { answers });
      batch.forEach((entry, at) => this.#done(entry, reply.answers[at].id));
      this.#failures = 0;
      this.#most = Math.min(BATCH, 2 * this.#most);
      this.error = null;
      this.#sending = false;
      this.stored(reply, batch);
    } catch (error) {
      this.#sending = false;
      this.#failed(batch, error);
    }
    this.#tell();
    if (this.#queue.length === 0) this.#idle.splice(0).forEach((resolve) => resolve());
    else if (!this.#timer) this.#send();
  }

  /** The first entries whose predecessors are acknowledged, none of a query twice, and not too large. */
  #batch() {
    const batch = [];
    let bytes = 0;
    for (const entry of this.#queue) {
      if (batch.length === this.#most || entry.replaces === undefined) break;
      bytes += JSON.stringify(entry.content).length;
      if (batch.length && bytes > BYTES) break;
      batch.push(entry);
    }
    return batch;
  }

  #done(entry, id) {
    this.#ids.set(entry.query, id);
    this.#drop(entry);
    const next = this.#queue.find((other) => other.query === entry.query);
    if (next) {
      next.replaces = id;
      this.#keep(next);
    }
  }

  #failed(batch, error) {
    if (!(error instanceof ApiError)) throw error; // our own mistake
    if (!FINAL.has(error.code)) {
      this.error = error;
      const wait = error.retryAfter ? 1000 * error.retryAfter : WAITS[Math.min(this.#failures, WAITS.length - 1)];
      if (error.status !== 429) this.#failures += 1;
      this.#timer = setTimeout(() => this.retry(), wait);
      return;
    }
    if (error.index === null && batch.length > 1) {
      this.#most = 1; // which of them is meant is not said: alone, each tells
      return;
    }
    const entry = batch[error.index ?? 0];
    if (error.code === "conflict") {
      entry.conflicts = (entry.conflicts ?? 0) + 1;
      if (!entry.adopted && entry.conflicts <= CONFLICTS) {
        // Another tab of the same person was faster; what was pressed last is meant.
        entry.replaces = error.current?.id ?? null;
        this.#keep(entry);
        return;
      }
      this.#done(entry, error.current?.id ?? null);
    } else {
      // Whose question this server does not know may be another's answer: it stays in the browser.
      const keep = error.code === "unknown_query";
      for (const other of this.#queue.filter((other) => other.query === entry.query)) this.#drop(other, keep);
    }
    this.refused(entry, error);
  }

  #keep(entry) {
    try {
      this.#storage?.setItem(entry.name, JSON.stringify(entry));
    } catch {
      this.kept = false; // the storage is full: what waits would not survive a reload, and the page says so
    }
  }

  #drop(entry, keep = false) {
    this.#queue.splice(this.#queue.indexOf(entry), 1);
    if (!keep) this.#storage?.removeItem(entry.name);
  }

  #adopt() {
    if (!this.#storage) return;
    const names = Object.keys(this.#storage).filter((name) => name.startsWith(this.#prefix)).sort();
    // A reply may have been lost on reload: the first entry of each query has what it replaces, the later ones follow it.
    for (const name of names) {
      const entry = JSON.parse(this.#storage.getItem(name));
      if ((entry.mark ?? this.#mark) === this.#mark) this.#queue.push({ ...entry, name, adopted: true });
      else this.strange += 1;
    }
  }

  #tell() {
    this.changed({ waiting: this.#queue.length, error: this.error, kept: this.kept });
  }
}

/** The browser's storage, or null where it is switched off. */
export function openStorage() {
  try {
    window.localStorage.setItem("weakseg-probe", "1");
    window.localStorage.removeItem("weakseg-probe");
    return window.localStorage;
  } catch {
    return null;
  }
}
