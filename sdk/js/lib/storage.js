// The ordered key-value space of a package, on a *port*: what the host, or a fake, does with checked arguments.
//
// Invariant: nothing here buffers or reorders; each method is one call of the port. Only `entries` adds something, the
// paging that a long scan needs.

import { toArray, toBytes, toObject, toWhole } from "./values.js";

/** The first page is small, for those who look at the first entries only; pages then grow to the largest. */
const PAGE_SIZE_FIRST = 32;
const PAGE_SIZE_LARGEST = 1024;

export const KeyRange = Object.freeze({
  all: () => ({}),
  prefix(prefix) {
    const start = toBytes(prefix, "prefix");
    return { start, end: prefixEnd(start) };
  },
  between: (start, end) => ({ start: toBytes(start, "start"), end: toBytes(end, "end") }),
});

/** The first key after all keys that begin with `prefix`; undefined if there is no such key. */
function prefixEnd(prefix) {
  const last = prefix.findLastIndex((byte) => byte !== 0xff);
  if (last < 0) return undefined;
  const end = prefix.slice(0, last + 1);
  end[last] += 1;
  return end;
}

function toRange(range) {
  const { start, end } = toObject(range, "range");
  return {
    start: start === undefined ? new Uint8Array() : toBytes(start, "range.start"),
    end: end === undefined ? undefined : toBytes(end, "range.end"),
  };
}

export class Storage {
  #port;

  constructor(port) {
    this.#port = port;
  }

  get(key) {
    return this.#port.get(toBytes(key, "key"));
  }

  getMany(keys) {
    return this.#port.getMany(toArray(keys, "keys").map((key) => toBytes(key, "key")));
  }

  put(key, value) {
    this.#port.put(toBytes(key, "key"), toBytes(value, "value"));
  }

  putMany(entries) {
    this.#port.putMany(toArray(entries, "entries").map((entry) => {
      const { key, value } = toObject(entry, "entry");
      return { key: toBytes(key, "entry.key"), value: toBytes(value, "entry.value") };
    }));
  }

  remove(key) {
    this.#port.remove(toBytes(key, "key"));
  }

  removeRange(range) {
    this.#port.removeRange(toRange(range));
  }

  scan(range, { limit = PAGE_SIZE_LARGEST, reverse = false } = {}) {
    return this.#port.scan(toRange(range), toWhole(limit, "limit"), Boolean(reverse));
  }

  *entries(range = KeyRange.all(), { reverse = false } = {}) {
    let { start, end } = toRange(range);
    for (let limit = PAGE_SIZE_FIRST; ; limit = Math.min(limit * 4, PAGE_SIZE_LARGEST)) {
      const page = this.#port.scan({ start, end }, limit, Boolean(reverse));
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return; // pages may be short: only an empty one is the end
      if (reverse) {
        end = last.key;
      } else {
        start = new Uint8Array(last.key.length + 1); // with a zero behind it: the smallest key after it
        start.set(last.key);
      }
    }
  }
}
