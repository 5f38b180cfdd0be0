// TextEncoder and TextDecoder for QuickJS: UTF-8 only, as the Encoding standard has it.

const CHUNK = 8192; // arguments of one call

class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(input = "") {
    const text = String(input);
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit >= 0x80) return encodeWide(text, bytes, at);
      bytes[at] = unit;
    }
    return bytes;
  }

  encodeInto(input, target) {
    const bytes = this.encode(input);
    let written = Math.min(bytes.length, target.length);
    while (written < bytes.length && written > 0 && (bytes[written] & 0xc0) === 0x80) written--; // no half of a character
    target.set(bytes.subarray(0, written));
    return { read: new TextDecoder().decode(bytes.subarray(0, written)).length, written };
  }
}

/** The whole of `text`, whose first `at` characters are ASCII and in `begun`. */
function encodeWide(text, begun, at) {
  const bytes = new Uint8Array(at + (text.length - at) * 3);
  bytes.set(begun.subarray(0, at));
  let length = at;
  for (; at < text.length; at++) {
    let code = text.codePointAt(at);
    if (code < 0x80) {
      bytes[length++] = code;
    } else if (code < 0x800) {
      bytes[length++] = 0xc0 | (code >> 6);
      bytes[length++] = 0x80 | (code & 0x3f);
    } else if (code < 0x10000) {
      if (code >= 0xd800 && code < 0xe000) code = 0xfffd; // half of a pair
      bytes[length++] = 0xe0 | (code >> 12);
      bytes[length++] = 0x80 | ((code >> 6) & 0x3f);
      bytes[length++] = 0x80 | (code & 0x3f);
    } else {
      at++; // a pair: four bytes for two units
      bytes[length++] = 0xf0 | (code >> 18);
      bytes[length++] = 0x80 | ((code >> 12) & 0x3f);
      bytes[length++] = 0x80 | ((code >> 6) & 0x3f);
      bytes[length++] = 0x80 | (code & 0x3f);
    }
  }
  return bytes.slice(0, length);
}

class TextDecoder {
  #fatal;
  #ignoreBom;

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^\s*(unicode-1-1-)?utf-?8\s*$/i.test(label)) throw new RangeError(`the encoding ${label} is not supported: only utf-8 is`);
    this.#fatal = Boolean(fatal);
    this.#ignoreBom = Boolean(ignoreBOM);
  }

  get encoding() {
    return "utf-8";
  }

  get fatal() {
    return this.#fatal;
  }

  get ignoreBOM() {
    return this.#ignoreBom;
  }

  decode(input = new Uint8Array(), { stream = false } = {}) {
    if (stream) throw new TypeError("TextDecoder decodes whole texts only, not streams");
    let bytes = toBytes(input);
    if (!this.#ignoreBom && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
    const parts = [];
    for (let at = 0; at < bytes.length; at += CHUNK) parts.push(String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK)));
    const latin = parts.join("");
    if (!/[\x80-\xff]/.test(latin)) return latin;
    try {
      return decodeURIComponent(escape(latin)); // the engine's own UTF-8, far faster than a loop, if it is all well formed
    } catch {
      if (this.#fatal) throw new TypeError("the bytes are not UTF-8");
      return decodeLossy(bytes);
    }
  }
}

function toBytes(input) {
  if (input instanceof Uint8Array) return input;
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  throw new TypeError("TextDecoder decodes an ArrayBuffer or a view of one");
}

/** The Encoding standard's UTF-8 decoder: each maximal part of a sequence that is none becomes one U+FFFD. */
function decodeLossy(bytes) {
  const parts = [];
  let [units, code, needed, lower, upper] = [[], 0, 0, 0x80, 0xbf];
  const emit = (point) => {
    units.push(point);
    if (units.length < CHUNK) return;
    parts.push(String.fromCodePoint.apply(null, units));
    units = [];
  };
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (needed === 0) {
      if (byte < 0x80) emit(byte);
      else if (byte >= 0xc2 && byte <= 0xdf) [needed, code] = [1, byte & 0x1f];
      else if (byte >= 0xe0 && byte <= 0xef) {
        if (byte === 0xe0) lower = 0xa0;
        if (byte === 0xed) upper = 0x9f;
        [needed, code] = [2, byte & 0xf];
      } else if (byte >= 0xf0 && byte <= 0xf4) {
        if (byte === 0xf0) lower = 0x90;
        if (byte === 0xf4) upper = 0x8f;
        [needed, code] = [3, byte & 7];
      } else emit(0xfffd);
      continue;
    }
    const fits = byte >= lower && byte <= upper;
    [lower, upper] = [0x80, 0xbf];
    if (!fits) {
      needed = 0;
      emit(0xfffd);
      at--; // the byte may begin a character of its own
      continue;
    }
    code = (code << 6) | (byte & 0x3f);
    if (--needed === 0) emit(code);
  }
  if (needed > 0) emit(0xfffd);
  return parts.join("") + String.fromCodePoint.apply(null, units);
}

globalThis.TextEncoder = TextEncoder;
globalThis.TextDecoder = TextDecoder;
