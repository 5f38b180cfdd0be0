import assert from "node:assert/strict";
import { test } from "node:test";

import { DecodeError, Key, KeyReader, Reader, Writer } from "../lib/index.js";
import { compareBytes } from "../lib/values.js";

const SAFE = Number.MAX_SAFE_INTEGER;

test("keys sort as their parts do, and come apart again", () => {
  const strings = ["", "\0", "\0\0", [0, 0xff], [1], "a", "a\0", "ab"].map((each) => (typeof each === "string" ? each : Uint8Array.from(each)));
  strings.forEach((left, leftAt) => strings.forEach((right, rightAt) => {
    if (leftAt === rightAt) return;
    const order = compareBytes(new Key(1).bytes(left).u32(9).finish(), new Key(1).bytes(right).u32(1).finish());
    assert.equal(Math.sign(order), Math.sign(leftAt - rightAt));
  }));
  const ascends = (values, add) => values.slice(1).forEach((value, at) => {
    assert.ok(compareBytes(add(new Key(0), values[at]).finish(), add(new Key(0), value).finish()) < 0, `${values[at]} before ${value}`);
  });
  ascends([0, 1, 255, 2 ** 32 - 1, 2 ** 32, SAFE], (key, value) => key.u64(value));
  ascends([-SAFE, -(2 ** 32), -5, -1, 0, 1, 2 ** 32, SAFE], (key, value) => key.i64(value));
  ascends([-Infinity, -2.5, -0, 0, 1e-300, 3, Infinity], (key, value) => key.f64(value));

  const key = new Key(7).bytes("a\0b").u32(3).u64(SAFE).i64(-5).f64(-6.5).finish();
  const reader = new KeyReader(key);
  assert.equal(reader.kind, 7);
  assert.deepEqual([...reader.bytes()], [0x61, 0, 0x62]);
  assert.deepEqual([reader.u32(), reader.u64(), reader.i64(), reader.f64()], [3, SAFE, -5, -6.5]);
  reader.finish();
});

test("the bytes are those of the other languages", () => {
  assert.deepEqual([...new Key(1).bytes("a\0").u32(1).i64(-2).f64(1).finish()],
    [1, 0x61, 0, 0xff, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...new Writer().u8(9).u32(1).u64(2 ** 32 + 3).count(300).bytes("hi").finish()],
    [9, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0xac, 2, 2, 0x68, 0x69]);
});

test("values survive, and every shorter input is an error", () => {
  for (const count of [0, 1, 127, 128, 16_383, 16_384, 0xffff_ffff, SAFE]) {
    assert.equal(new Reader(new Writer().count(count).finish()).count(), count);
  }
  assert.throws(() => new Reader(new Uint8Array(10).fill(0xff)).count(), DecodeError);
  assert.throws(() => new Reader(new Uint8Array(8).fill(0xff)).u64(), DecodeError);
  const value = new Writer().u8(1).u32(2).u64(3).bytes("text").finish();
  const read = (input) => {
    const reader = new Reader(input);
    const values = [reader.u8(), reader.u32(), reader.u64(), new TextDecoder().decode(reader.bytes())];
    reader.finish();
    return values;
  };
  assert.deepEqual(read(value), [1, 2, 3, "text"]);
  for (let length = 0; length < value.length; length++) assert.throws(() => read(value.subarray(0, length)), DecodeError);
  assert.throws(() => read(Uint8Array.of(...value, 0)), /bytes are left over/);
});

test("numbers that do not fit are refused", () => {
  for (const wrong of [() => new Key(256), () => new Key(0).u32(-1), () => new Key(0).u64(2 ** 53), () => new Writer().u8(0.5), () => new Writer().u64(1n)]) {
    assert.throws(wrong, TypeError);
  }
});
