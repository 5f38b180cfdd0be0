// QuickJS' TextEncoder, TextDecoder and URL against those of Node.js.

import assert from "node:assert/strict";
import { test } from "node:test";

const native = { TextEncoder, TextDecoder, URL, URLSearchParams };
await import("../lib/component/text.js");
await import("../lib/component/url.js");
const ours = { TextEncoder, TextDecoder, URL, URLSearchParams };
Object.assign(globalThis, native);

/** The same sequence in every run: xorshift32 (Marsaglia, 2003). */
function* random(state) {
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

test("text is encoded as by the standard", () => {
  for (const text of ["", "plain", "wörds", "\u20ac\u{1f600}", "a\ud800b", "\udc00\ud800", "x".repeat(20_000) + "\u{10ffff}"]) {
    assert.deepEqual([...new ours.TextEncoder().encode(text)], [...new native.TextEncoder().encode(text)], text.slice(0, 20));
  }
  for (const size of [0, 1, 2, 3, 4, 7, 9]) {
    const [left, right] = [new Uint8Array(size), new Uint8Array(size)];
    const progress = new ours.TextEncoder().encodeInto("aö€\u{1f600}", left);
    assert.deepEqual(progress, new native.TextEncoder().encodeInto("aö€\u{1f600}", right));
    assert.deepEqual(left, right);
  }
});

test("bytes are decoded as by the standard, whatever they are", () => {
  const numbers = random(1);
  const next = (bound) => numbers.next().value % bound;
  // Bytes with which sequences begin, go on and break off.
  const likely = [0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff];
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from({ length: next(9) }, () => likely[next(likely.length)]);
    assert.equal(new ours.TextDecoder().decode(bytes), new native.TextDecoder().decode(bytes), bytes.join(" "));
    const fatal = (decoder) => {
      try {
        return decoder.decode(bytes);
      } catch {
        return undefined;
      }
    };
    assert.equal(fatal(new ours.TextDecoder("utf-8", { fatal: true })), fatal(new native.TextDecoder("utf-8", { fatal: true })));
  }
  const long = new native.TextEncoder().encode("a€".repeat(20_000));
  for (const bytes of [long, Uint8Array.of(...long, 0xff), long.subarray(1, -1)]) {
    assert.equal(new ours.TextDecoder().decode(bytes), new native.TextDecoder().decode(bytes));
  }
  const marked = Uint8Array.of(0xef, 0xbb, 0xbf, 0x61);
  assert.equal(new ours.TextDecoder().decode(marked), "a");
  assert.equal(new ours.TextDecoder("utf8", { ignoreBOM: true }).decode(marked.buffer), "\ufeffa");
  assert.throws(() => new ours.TextDecoder("latin1"), RangeError);
});

test("URLs are taken apart as by the standard", () => {
  const parts = ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
  const base = "http://user@example.org:8080/a/b/c?d#e";
  const inputs = [
    "http://example.org", "HTTP://EXAMPLE.org:80/x", "https://example.org:8443/a/../b/./c%2e%2e/?q=1&r=ä#fräg", "wss://h/%zz%41",
    "http://us er:p@ss@h/", "http://[::1]:99/x", "https:/example.org/x", "  http://h/a b\t\n ", "mailto:a@b.c?x=1#y", "data:text/plain,hi there",
    "", "?q", "#f", "x/y", "/x", "../x", "./", "..", "//other/z", "http:x", "/a/./../b//c/", "?", "#", "x?y?z#a#b", "http://h/'\"<>`{}|\\",
    "http://h?a'b", "http://h/?", "http://", "http://h:99999", "http://h:x", "http://a b", "http://h/%2E%2e/x",
  ];
  for (const input of inputs) {
    for (const from of [undefined, base]) {
      const [left, right] = [ours.URL.parse(input, from), native.URL.canParse(input, from) ? new native.URL(input, from) : null];
      assert.equal(left === null, right === null, `${input} from ${from}`);
      if (right !== null) assert.deepEqual(parts.map((part) => left[part]), parts.map((part) => right[part]), `${input} from ${from}`);
    }
  }
  assert.throws(() => new ours.URL("/x"), { name: "TypeError", message: /Invalid URL/ });
});

test("queries are changed as by the standard", () => {
  const [left, right] = [ours, native].map(({ URL }) => {
    const url = new URL("http://h/p?a=1&b=%20+x&a=2&c");
    url.searchParams.append("d", "ö &=");
    url.searchParams.delete("b");
    url.searchParams.set("a", "3");
    url.searchParams.sort();
    const before = url.href;
    url.search = "x=~*-._'";
    url.searchParams.append("y", "~*-._'");
    url.pathname = "q/../r s?t";
    url.hash = "h";
    return [before, url.href, [...url.searchParams], url.searchParams.get("zz"), url.searchParams.has("y"), JSON.stringify(url)];
  });
  assert.deepEqual(left, right);
  for (const init of ["?a=b&a", { a: "1", b: "2" }, [["a", "b"], ["a", "c"]]]) {
    assert.equal(String(new ours.URLSearchParams(init)), String(new native.URLSearchParams(init)));
  }
});
