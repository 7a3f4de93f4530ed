// Images, decoded before they are asked for.

const KEPT = 8;

/** Loads images once and keeps the last few decoded. */
export class Images {
  #fetch;
  #kept = new Map(); // address -> {promise, bitmap}; oldest first

  /** @param {(address: string) => Promise<Blob>} fetch */
  constructor(fetch) {
    this.#fetch = fetch;
  }

  /** The image if it is here already, else null. What is asked for is kept longest. */
  ready(address) {
    const known = this.#kept.get(address);
    if (known) this.#touch(address, known);
    return known?.bitmap ?? null;
  }

  /** The image, decoded. A failure is forgotten, so that asking again tries again. */
  load(address) {
    const known = this.#kept.get(address);
    if (known) {
      this.#touch(address, known);
      return known.promise;
    }
    const entry = { bitmap: null, promise: null };
    entry.promise = this.#fetch(address)
      .then((blob) => createImageBitmap(blob))
      .then(
        (bitmap) => (entry.bitmap = bitmap),
        (error) => {
          if (this.#kept.get(address) === entry) this.#kept.delete(address);
          throw error;
        },
      );
    this.#kept.set(address, entry);
    this.#shed();
    return entry.promise;
  }

  /** Load ahead; a failure shows when the image is asked for. */
  prepare(addresses) {
    for (const address of addresses) this.load(address).catch(() => {});
  }

  #touch(address, entry) {
    this.#kept.delete(address);
    this.#kept.set(address, entry);
  }

  #shed() {
    for (const [address, entry] of this.#kept) {
      if (this.#kept.size <= KEPT) return;
      this.#kept.delete(address);
      entry.promise.then((bitmap) => bitmap.close(), () => {});
    }
  }
}
