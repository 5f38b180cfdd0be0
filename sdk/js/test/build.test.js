// What builds make of packages, and say of an author's mistakes. Installs the tools when they are not there yet.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";

const sdk = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "recoil-js-test-"));
after(() => rmSync(folder, { recursive: true }));

const HANDLER = "export const handler = { handle(transaction, request) { return request; } };\n";

/** Builds a package of these files; whether it could be, and what was said. */
function build(files, ...args) {
  const place = mkdtempSync(join(folder, "package-"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(place, name)), { recursive: true });
    writeFileSync(join(place, name), text);
  }
  const entry = args.length > 0 ? args : [Object.keys(files)[0]];
  const { status, stderr } = spawnSync("sh", [join(sdk, "build.sh"), ...entry], { cwd: place, encoding: "utf8" });
  return { isBuilt: status === 0, said: stderr, component: () => readFileSync(join(place, "build", "component.wasm"), "latin1") };
}

const ROLES = ["handler", "timer", "tcp-listener", "http-handler", "admin", "scheduler"];
const rolesOf = (component) => ROLES.filter((role) => component.includes(`recoil:plugin/${role}@0.1.0#`));

test("a package has the roles that its first module exports", () => {
  const { isBuilt, said, component } = build({ "index.js": `${HANDLER}export const timer = { fire() {} };\nexport const other = 1;` });
  assert.ok(isBuilt, said);
  assert.deepEqual(rolesOf(component()), ["handler", "timer"]);
});

test("an admin has both its functions", () => {
  const admin = "export const admin = { commands: () => [], run: (typed) => typed.join() };";
  const { isBuilt, said, component } = build({ "index.js": `${HANDLER}${admin}` });
  assert.ok(isBuilt, said);
  assert.deepEqual(rolesOf(component()), ["handler", "admin"]);
});

test("a scheduler alone needs no handler", () => {
  const { isBuilt, said, component } = build({ "index.js": "export const scheduler = { plan: () => [] };" });
  assert.ok(isBuilt, said);
  assert.deepEqual(rolesOf(component()), ["scheduler"]);
});

test("TypeScript and dependencies are taken along", () => {
  const { isBuilt, said, component } = build({
    "index.ts": `import { word } from "dependency";\nimport type { Handler } from "#recoil";\nexport const handler: Handler = { handle: () => word };`,
    "node_modules/dependency/package.json": '{ "name": "dependency", "main": "main.js" }',
    "node_modules/dependency/main.js": 'exports.word = "a word of the dependency";',
  });
  assert.ok(isBuilt, said);
  assert.ok(component().includes("a word of the dependency"));
});

/** What is wrong, and what is said of it. */
const MISTAKES = {
  "no handler": [{ "index.js": "export const timer = {};" }, /index.js exports no `handler`, which every package has \(exported: timer\)/],
  "no handler beside a scheduler": [
    { "index.js": "export const scheduler = { plan: () => [] };\nexport const timer = { fire() {} };" },
    /index.js exports no `handler`, which every package has \(exported: scheduler, timer\)/,
  ],
  "a default export": [{ "index.js": "export default { handle() {} };" }, /roles are exported by their names/],
  "a wrong name": [{ "index.js": `${HANDLER}export const tcp_listener = {};` }, /exports `tcp_listener`, which is no role: name it `listener`/],
  "no function": [
    { "index.js": "\nexport const handler = { handel() {} };" },
    /loading it throws: .*the export `handler` must be an object with a function `handle`, but its `handle` is undefined/,
  ],
  "half of an admin": [
    { "index.js": `${HANDLER}export const admin = { commands: () => [] };` },
    /loading it throws: .*the export `admin` must be an object with a function `run`, but its `run` is undefined/,
  ],
  "an exception while loading": [
    { "index.js": `import { load } from "./other.js";\nload();\n${HANDLER}`, "other.js": '\n\nexport function load() {\n  throw new Error("what is wrong");\n}' },
    /loading it throws: Error: what is wrong\n.*load \(other\.js:4\)\n.*\(index\.js:2\)/,
  ],
  "a module that is not there": [{ "index.js": 'import "./absent.js";' }, /Could not resolve "\.\/absent\.js"[^]*index\.js:1:7/],
  "a module of Node.js": [{ "index.js": 'import "node:fs";' }, /node:fs is a module of Node\.js: a package runs without it/],
  "the fakes": [{ "index.js": 'import "#recoil/fake";' }, /is for tests/],
  "syntax": [{ "index.js": "export const handler = {" }, /index\.js:1:2[0-9]:/],
  "types": [
    {
      "index.ts": 'import type { Handler } from "./sdk/lib/index.js";\nexport const handler: Handler = { handle: () => 1 };',
      "tsconfig.json": JSON.stringify({
        compilerOptions: { module: "esnext", moduleResolution: "bundler", target: "es2023", strict: true, types: [], paths: { "./sdk/*": [join(sdk, "*")] } },
      }),
    },
    /index\.ts[^]*the types do not fit/,
  ],
};
for (const [what, [files, said]] of Object.entries(MISTAKES)) {
  test(`the mistake is told: ${what}`, () => {
    const built = build(files);
    assert.match(built.said, said);
    assert.ok(!built.isBuilt);
    assert.doesNotMatch(built.said, /\n\s+at .*sdk\/js\/build/, "the build's own stack is nobody's concern");
  });
}

test("wrong arguments are told", () => {
  const files = { "index.js": HANDLER };
  assert.match(build(files, "--engine", "v8", "index.js").said, /there is no engine v8: quickjs and starlingmonkey are there/);
  assert.match(build(files, "absent.js").said, /absent\.js does not exist/);
  assert.match(build(files, "--fast", "index.js").said, /usage: build\.sh/);
});
