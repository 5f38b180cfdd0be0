// `crypto` and `Math.random` for QuickJS, from the host's randomness.
//
// The engine seeds its own generator when the component is made, so that every instance, wherever it runs, would draw the same
// numbers: here each instance seeds itself when it first draws. While the package is loaded there are only the engine's.

import { getRandomBytes } from "wasi:random/random@0.2.12";

import { hasHost } from "./life.js";

const QUOTA_BYTES = 65_536;

function randomBytes(count) {
  if (!hasHost()) throw new Error("nothing is random while the package is loaded, which is when it is built: use crypto in a call");
  return getRandomBytes(count);
}

const crypto = {
  getRandomValues(target) {
    if (!ArrayBuffer.isView(target) || target instanceof DataView || target instanceof Float32Array || target instanceof Float64Array) {
      throw new TypeError("getRandomValues fills an array of integers");
    }
    if (target.byteLength > QUOTA_BYTES) throw new RangeError(`getRandomValues fills at most ${QUOTA_BYTES} bytes at once`);
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(randomBytes(target.byteLength));
    return target;
  },

  /** Version 4 of RFC 9562. */
  randomUUID() {
    const bytes = randomBytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};

/** Four words of state; undefined until the instance has drawn. */
let state;

/** One word of xoshiro128** (Blackman and Vigna, 2018). */
function word() {
  state ??= new Uint32Array(randomBytes(16).slice().buffer);
  const rotate = (value, by) => (value << by) | (value >>> (32 - by));
  const result = Math.imul(rotate(Math.imul(state[1], 5), 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotate(state[3], 11);
  return result;
}

const engineRandom = Math.random;

globalThis.crypto = crypto;
Math.random = () => (hasHost() ? ((word() >>> 5) * 0x400_0000 + (word() >>> 6)) / 2 ** 53 : engineRandom());
