// Bytes for keys and values, the same as those of the other languages' SDKs.
//
// `Key` builds keys whose byte order is the order of their parts, so that a scan returns them sorted: integers are
// big-endian, and a byte string of any content is escaped so that a shorter one sorts before a longer one and no part can
// be mistaken for the next. `Writer` and `Reader` are the small codec for values: little-endian integers and byte strings
// behind a variable-length count.

import { describe, toBytes, toWhole } from "./values.js";

const TWO_TO_32 = 0x1_0000_0000;

export class DecodeError extends Error {
  constructor(position, why) {
    super(`cannot decode byte ${position}: ${why}`);
    this.name = "DecodeError";
    this.position = position;
  }
}

/** Bytes that grow. */
class Bytes {
  #bytes = new Uint8Array(64);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Room for `count` more bytes; answers where they begin. */
  grow(count) {
    const start = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, start));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return start;
  }

  u8(value) {
    const at = this.grow(1);
    this.#bytes[at] = value;
  }

  u32(value, littleEndian) {
    const at = this.grow(4);
    this.#view.setUint32(at, value, littleEndian);
  }

  /** A number from -2^53 to 2^53, in two's complement. */
  u64(value, littleEndian) {
    const at = this.grow(8);
    this.#view.setUint32(at + (littleEndian ? 4 : 0), Math.floor(value / TWO_TO_32), littleEndian);
    this.#view.setUint32(at + (littleEndian ? 0 : 4), value, littleEndian);
  }

  /** Answers its bytes, to be changed in place. */
  f64(value) {
    const at = this.grow(8);
    this.#view.setFloat64(at, value);
    return this.#bytes.subarray(at, at + 8);
  }

  raw(value) {
    const at = this.grow(value.length);
    this.#bytes.set(value, at);
  }

  finish() {
    return this.#bytes.slice(0, this.#length);
  }
}

function toSigned(value) {
  if (Number.isSafeInteger(value)) return value;
  throw new TypeError(`the part must be a whole number between -2^53 and 2^53, not ${describe(value)}`);
}

const toU64 = (value) => toWhole(value, "the number", Number.MAX_SAFE_INTEGER);

export class Key {
  #buffer = new Bytes();

  constructor(kind) {
    this.#buffer.u8(toWhole(kind, "kind", 0xff));
  }

  bytes(part) {
    for (const byte of toBytes(part, "part")) {
      this.#buffer.u8(byte);
      if (byte === 0) this.#buffer.u8(0xff);
    }
    this.#buffer.u8(0);
    this.#buffer.u8(0);
    return this;
  }

  u32(part) {
    this.#buffer.u32(toWhole(part, "part"), false);
    return this;
  }

  u64(part) {
    this.#buffer.u64(toU64(part), false);
    return this;
  }

  i64(part) {
    const value = toSigned(part);
    // The sign's bit turned over, so that negative numbers come first.
    this.#buffer.u32(Math.floor(value / TWO_TO_32) ^ 0x8000_0000, false);
    this.#buffer.u32(value, false);
    return this;
  }

  f64(part) {
    turnFloat(this.#buffer.f64(Number(part)));
    return this;
  }

  finish() {
    return this.#buffer.finish();
  }
}

/** Between a number's bits and bytes that sort as numbers do: all bits turned over if negative, else the sign's. */
function turnFloat(bytes, back = false) {
  const negative = (bytes[0] & 0x80) !== (back ? 0x80 : 0);
  for (let at = 0; at < bytes.length; at++) bytes[at] ^= negative ? 0xff : at === 0 ? 0x80 : 0;
  return bytes;
}

export class Writer {
  #buffer = new Bytes();

  u8(value) {
    this.#buffer.u8(toWhole(value, "the number", 0xff));
    return this;
  }

  u32(value) {
    this.#buffer.u32(toWhole(value, "the number"), true);
    return this;
  }

  u64(value) {
    this.#buffer.u64(toU64(value), true);
    return this;
  }

  count(value) {
    let rest = toU64(value);
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#buffer.u8((rest % 0x80) | 0x80);
    this.#buffer.u8(rest);
    return this;
  }

  bytes(value) {
    const bytes = toBytes(value, "value");
    this.count(bytes.length);
    this.#buffer.raw(bytes);
    return this;
  }

  finish() {
    return this.#buffer.finish();
  }
}

export class Reader {
  #input;
  #view;
  #position = 0;

  constructor(input) {
    this.#input = toBytes(input, "input");
    this.#view = new DataView(this.#input.buffer, this.#input.byteOffset, this.#input.byteLength);
  }

  error(why) {
    return new DecodeError(this.#position, why);
  }

  get remaining() {
    return this.#input.length - this.#position;
  }

  raw(length) {
    const at = this.#skip(length);
    return this.#input.subarray(at, at + length);
  }

  u8() {
    return this.#input[this.#skip(1)];
  }

  u32(littleEndian = true) {
    return this.#view.getUint32(this.#skip(4), littleEndian);
  }

  u64(littleEndian = true) {
    const [first, second] = [this.u32(littleEndian), this.u32(littleEndian)];
    const [high, low] = littleEndian ? [second, first] : [first, second];
    return this.#exact(high * TWO_TO_32 + low);
  }

  count() {
    let value = 0;
    for (let scale = 1; scale < 2 ** 63; scale *= 0x80) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return this.#exact(value);
    }
    throw this.error("a number above 2^53");
  }

  bytes() {
    return this.raw(this.count());
  }

  finish() {
    if (this.remaining > 0) throw this.error("bytes are left over");
  }

  /** Answers where the skipped bytes begin. */
  #skip(count) {
    if (count > this.remaining) throw this.error("the input ends early");
    const at = this.#position;
    this.#position += count;
    return at;
  }

  #exact(value) {
    if (value > Number.MAX_SAFE_INTEGER) throw this.error("a number above 2^53");
    return value;
  }
}

export class KeyReader {
  #reader;

  constructor(key) {
    this.#reader = new Reader(key);
    this.kind = this.#reader.u8();
  }

  bytes() {
    const part = new Bytes();
    for (;;) {
      const byte = this.#reader.u8();
      if (byte === 0) {
        const next = this.#reader.u8();
        if (next === 0) return part.finish();
        if (next !== 0xff) throw this.#reader.error("a zero that is neither escaped nor an end");
      }
      part.u8(byte);
    }
  }

  u32() {
    return this.#reader.u32(false);
  }

  u64() {
    return this.#reader.u64(false);
  }

  i64() {
    const [high, low] = [this.#reader.u32(false), this.#reader.u32(false)];
    const value = (high ^ 0x8000_0000) * TWO_TO_32 + low;
    if (!Number.isSafeInteger(value)) throw this.#reader.error("a number beyond 2^53");
    return value;
  }

  f64() {
    const bytes = turnFloat(this.#reader.raw(8).slice(), true);
    return new DataView(bytes.buffer).getFloat64(0);
  }

  finish() {
    this.#reader.finish();
  }
}
