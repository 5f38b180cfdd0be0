// Stands between ComponentizeJS and the program that initializes components: see `ENGINES.starlingmonkey`.
//
// ComponentizeJS' bindings keep what a function of the host is given (a copy, in the instance's memory) until the export that
// called it returns. A listener's `serve` returns when its connection ends: whatever the connection was sent and every request
// would stay for as long. Here the bindings learn to free it as soon as the host's function has returned.
//
// They also take U+FEFF from the front of a text, as a decoder does by default. A text of the contract is what was sent, on either engine.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [wizer, ...args] = process.argv.slice(2);

const UNKNOWN = "the bindings are not those of the ComponentizeJS that this was written for";

/** The bindings that leave texts as they are. */
function exact(bindings) {
  const mended = bindings.replaceAll(" = new TextDecoder();", ' = new TextDecoder("utf-8", { ignoreBOM: true });');
  if (mended === bindings) throw new Error(UNKNOWN);
  return mended;
}

/** The bindings that free what they pass to the host. */
function freeing(bindings) {
  const taken = /^let \[(\$memory, \$realloc, \$dealloc, .*)\] = \$bindings;$/m;
  const entered = /^(?:async )?function export_.*\{$/gm;
  const names = taken.exec(bindings)?.[1].split(", ");
  if (names === undefined || !entered.test(bindings)) throw new Error(UNKNOWN);
  // A resource is dropped by the collector at any moment, also while an answer waits to be taken: that must free nothing.
  const freed = names.map((name) => name.startsWith("$import_"));
  const wrapping = `
    const $passed = [];
    function $freeing([memory, realloc, dealloc, ...imports]) {
      const freed = ${JSON.stringify(freed.slice(3))};
      const remembered = (...args) => {
        const pointer = realloc(...args);
        $passed.push(pointer);
        return pointer;
      };
      const wrapped = imports.map((call, at) => !freed[at] ? call : (...args) => {
        try {
          return call(...args);
        } finally {
          while ($passed.length > 0) dealloc($passed.pop());
        }
      });
      return [memory, remembered, dealloc, ...wrapped];
    }
  `.replace(/\s+/g, " "); // on one line, which is not counted in stacks
  return bindings
    .replace(taken, (_, list) => `${wrapping} let [${list}] = $freeing($bindings);`)
    .replace(entered, (line) => `${line} $passed.length = 0;`); // what was answered last is freed by the engine
}

const folder = args.find((arg) => arg.startsWith("--dir=")).slice("--dir=".length);
const file = join(folder, "initializer.js");
writeFileSync(file, exact(freeing(readFileSync(file, "utf8"))));
process.exitCode = spawnSync(wizer, args, { stdio: "inherit" }).status ?? 1;
