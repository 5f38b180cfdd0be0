// From one module and a world to a component, by either engine.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { BASE, load, STARLINGMONKEY, tools } from "./tools.mjs";

const WORLD = "app";

export const ENGINES = {
  /** Small and quick to start; QuickJS lacks what `lib/component/quickjs.js` brings, hence the host's randomness. */
  quickjs: {
    imports: ["wasi:random/random@0.2.12"],
    async componentize(source, folder) {
      const { componentize } = await load(tools(BASE), "componentize-qjs/index.js");
      const made = await componentize({ jsSource: source, witPath: join(folder, "wit"), world: WORLD, sync: true });
      return made.component;
    },
  },
  /** The engine of Firefox. */
  starlingmonkey: {
    imports: [],
    async componentize(source, folder) {
      const { componentize } = await load(tools(STARLINGMONKEY), "@bytecodealliance/componentize-js/src/componentize.js");
      const wizer = await load(tools(STARLINGMONKEY), "@bytecodealliance/wizer/index.js");
      const sourcePath = join(folder, "package.js");
      writeFileSync(sourcePath, source);
      // A program in wizer's place, which mends the bindings and then runs it.
      const wizerBin = join(folder, "wizer");
      const words = [process.execPath, join(import.meta.dirname, "wizer.mjs"), wizer].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
      writeFileSync(wizerBin, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
      const made = await componentize({
        sourcePath, witPath: join(folder, "wit"), worldName: WORLD, wizerBin, disableFeatures: ["http", "fetch-event"],
      });
      return made.component;
    },
  },
};

/** The text of the world: what every package may use, what the engine needs, and the exports. */
export function world(imports, exports) {
  const lines = [...imports.map((name) => `import ${name};`), ...exports.map((name) => `export ${name};`)];
  return `package recoil:app;\nworld ${WORLD} { include recoil:plugin/platform@0.1.0; ${lines.join(" ")} }\n`;
}
