import assert from "node:assert/strict";
import { test } from "node:test";

import { format } from "../lib/component/format.js";

const shown = (...values) => format(values, () => "\n    at line (file.js:1)");

test("values are shown as JavaScript writes them", () => {
  const circle = { name: "circle" };
  circle.self = circle;
  const cases = [
    [["plain text"], "plain text"],
    [[""], ""],
    [["text", 1, true, null, undefined, 2n], "text 1 true null undefined 2n"],
    [[{ a: "b", c: [1, { d: Symbol.iterator }] }], '{ a: "b", c: [1, { d: Symbol(Symbol.iterator) }] }'],
    [[[], {}, new Map([["k", 1]]), new Set([1, "x"])], '[] {} Map(1) { "k" => 1 } Set(2) { 1, "x" }'],
    [[Uint8Array.of(1, 2), new Date(0), /x/g], "Uint8Array(2) [1, 2] 1970-01-01T00:00:00.000Z /x/g"],
    [[function named() {}, () => 1], "[function named] [function (anonymous)]"],
    [[circle], '{ name: "circle", self: [circular] }'],
    [[new TypeError("why")], "TypeError: why\n    at line (file.js:1)"],
    [[{ a: { b: { c: { d: { e: 1 } } } } }], "{ a: { b: { c: [Object] } } }"],
    [[new Date(NaN), Object.create(null)], "Invalid Date {}"],
    [["%s is %d%%, %i and %j or %o", "it", "4", 5.5, { a: 1 }, [1]], 'it is 4%, 5 and {"a":1} or [1]'],
    [["%s and %s", "one"], "one and %s"],
    [["100%"], "100%"],
  ];
  for (const [values, text] of cases) assert.equal(shown(...values), text);
  assert.match(shown(Array.from({ length: 200 }, (_, at) => at)), /98, 99, …\]$/);
});
