// The counterpart of `quickjs.js`: StarlingMonkey has what JavaScript is expected to have anywhere.

/** `BigInt` or `Number`: what the engine wants for a u64. */
export const U64 = BigInt;

/**
 * Bytes that the engine hands over: arguments of exports come from another global than the package's, whose Uint8Array is not
 * the package's Uint8Array. Nothing is copied.
 */
export const received = (bytes) => (bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
