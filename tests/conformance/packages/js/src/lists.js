// The protocol's lists, answers and values: see ../../../PROTOCOL.md.

import { RecoilError } from "#recoil";

const PLUS = 0x2b;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** A request that is not what the protocol says. */
export const invalid = (why) => new RecoilError(why, "invalid");

/** Items, bytes or texts, behind `head`. */
export function encodeList(items, head = []) {
  const bytes = items.map((item) => (typeof item === "string" ? encoder.encode(item) : item));
  const list = new Uint8Array(bytes.reduce((length, item) => length + 4 + item.length, head.length));
  const view = new DataView(list.buffer);
  list.set(head);
  let at = head.length;
  for (const item of bytes) {
    view.setUint32(at, item.length);
    list.set(item, at + 4);
    at += 4 + item.length;
  }
  return list;
}

export function decodeList(list) {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  const items = [];
  for (let at = 0; at < list.length; ) {
    const end = at + 4 <= list.length ? at + 4 + view.getUint32(at) : Infinity;
    if (end > list.length) throw invalid("a list that ends within an item");
    items.push(list.subarray(at + 4, end));
    at = end;
  }
  return items;
}

export const encodeAnswer = (items) => encodeList(items, [0]);

/** What the host or a handler refused; anything else is thrown on. */
export function encodeError(error) {
  if (!(error instanceof RecoilError)) throw error;
  return encodeList([error.kind, errorText(error)], [1]);
}

/** The contract has no text for two kinds. */
const errorText = ({ kind, message }) => (kind === "read-only" || kind === "conflict" ? "" : message);

export const errorLine = (error) => `${error.kind}: ${errorText(error)}`;

/** The answer to a call whose `result` is a list of the handler's. */
export const encodeResult = (result) => (result.ok ? encodeAnswer(decodeList(result.value)) : encodeError(result.error));

/** Nothing for undefined, else the value behind a plus sign. */
export function option(value) {
  if (value === undefined) return "";
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  const item = new Uint8Array(1 + bytes.length);
  item[0] = PLUS;
  item.set(bytes, 1);
  return item;
}

/** The arguments of a command, taken off one by one. */
export class Arguments {
  #items;

  constructor(items) {
    this.#items = items;
  }

  get isEmpty() {
    return this.#items.length === 0;
  }

  bytes() {
    if (this.isEmpty) throw invalid("too few arguments");
    return this.#items.shift();
  }

  rest() {
    return this.#items.splice(0);
  }

  text() {
    const bytes = this.bytes();
    try {
      return decoder.decode(bytes);
    } catch {
      throw invalid("a text that is not UTF-8");
    }
  }

  number(max = Number.MAX_SAFE_INTEGER) {
    const text = this.text();
    if (!/^\d{1,16}$/.test(text) || Number(text) > max) throw invalid(`not a number up to ${max}: ${text}`);
    return Number(text);
  }

  truth() {
    return this.oneOf(["true", "false"]) === "true";
  }

  oneOf(texts) {
    const text = this.text();
    if (!texts.includes(text)) throw invalid(`not one of ${texts.join(", ")}: ${text}`);
    return text;
  }

  option() {
    const item = this.bytes();
    if (item.length === 0) return undefined;
    if (item[0] !== PLUS) throw invalid("an option that begins with something else than +");
    return item.subarray(1);
  }

  /** What `take` makes of the arguments, as often as there are some. */
  many(take) {
    const taken = [];
    while (!this.isEmpty) taken.push(take());
    return taken;
  }
}
