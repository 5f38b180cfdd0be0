// What authors may pass, checked where it is passed: an error then names the argument and shows the author's own line.

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as they are, text as UTF-8. Texts that differ give bytes that differ: half of a surrogate pair is refused. */
export function toBytes(value, what) {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") {
    if (value.isWellFormed()) return encoder.encode(value);
    throw new TypeError(`${what} has half of a surrogate pair, which UTF-8 cannot hold: pass a Uint8Array, or the text's toWellFormed()`);
  }
  throw new TypeError(`${what} must be a Uint8Array or a string, not ${describe(value)}`);
}

/** UTF-8 as text; what is not UTF-8 becomes U+FFFD. */
export function toText(bytes) {
  return decoder.decode(bytes);
}

/** UTF-8 as text, from which the same bytes can be made again; undefined if it is not UTF-8. */
export function toExactText(bytes) {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function toWhole(value, what, max = 0xffff_ffff) {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new TypeError(`${what} must be a whole number from 0 to ${max}, not ${describe(value)}`);
}

export function toArray(value, what) {
  if (Array.isArray(value)) return value;
  throw new TypeError(`${what} must be an array, not ${describe(value)}`);
}

export function toObject(value, what) {
  if (value !== null && typeof value === "object") return value;
  throw new TypeError(`${what} must be an object, not ${describe(value)}`);
}

/** How a value is called in an error message. */
export function describe(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "object") return `a value of ${value.constructor?.name ?? "no class"}`;
  if (typeof value === "function") return "a function";
  return `the ${typeof value} ${String(value).slice(0, 40)}`;
}

/** Whether two byte strings are in this order (negative), equal (0) or in the other one (positive). */
export function compareBytes(left, right) {
  const length = Math.min(left.length, right.length);
  for (let at = 0; at < length; at++) {
    if (left[at] !== right[at]) return left[at] - right[at];
  }
  return left.length - right.length;
}
