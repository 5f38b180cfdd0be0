// A map whose keys are byte strings, in their order.

import { toBytes } from "../values.js";

/** A text of one character for each byte: compares as the bytes do. */
const toName = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

export class BytesMap {
  #entries = new Map();
  /** The names in order; undefined after a key came or went. */
  #sorted;

  get size() {
    return this.#entries.size;
  }

  get(key) {
    return this.#entries.get(toName(toBytes(key, "key")))?.value;
  }

  set(key, value) {
    const bytes = toBytes(key, "key").slice();
    const name = toName(bytes);
    if (!this.#entries.has(name)) this.#sorted = undefined;
    this.#entries.set(name, { key: bytes, value });
  }

  delete(key) {
    if (this.#entries.delete(toName(toBytes(key, "key")))) this.#sorted = undefined;
  }

  /** The entries from `start`, which is included, to `end`, which is not. */
  range(start = new Uint8Array(), end = undefined) {
    this.#sorted ??= [...this.#entries.keys()].sort((left, right) => (left < right ? -1 : 1));
    const [from, to] = [toName(start), end && toName(end)];
    const within = this.#sorted.filter((name) => name >= from && (to === undefined || name < to));
    return within.map((name) => this.#entries.get(name));
  }

  clone() {
    const copy = new BytesMap();
    copy.#entries = new Map(this.#entries);
    return copy;
  }
}
