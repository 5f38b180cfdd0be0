// What QuickJS lacks of what JavaScript is expected to have anywhere, put in before anything of the author's.

import "./text.js";
import "./url.js";
import "./clock.js";
import "./random.js";

/** `BigInt` or `Number`: what the engine wants for a u64. */
export const U64 = Number;

/** Bytes that the engine hands over. */
export const received = (bytes) => bytes;
