// Makes the component of a package: see build.sh.
//
// What the package's first module exports decides which roles the component has: nothing else is exported, so that the host
// gives it those roles and no others.

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";

import { bundleForComponent } from "./bundle.mjs";
import { ENGINES, world } from "./engines.mjs";
import { BuildError, run } from "./failure.mjs";
import { lineTable } from "./lines.mjs";
import { BASE, tools } from "./tools.mjs";

const sdk = join(import.meta.dirname, "..");
const library = join(sdk, "lib");
const contract = join(sdk, "..", "..", "wit");

/** By the author's export: the component's, the contract's interface, and how `roles.js` makes the one of the other. */
const ROLES = {
  handler: { exported: "handler", interface: "handler", made: (its, has) => `handlerRole(${its}, ${has("timer")})` },
  timer: { exported: "timer", interface: "timer", made: (its) => `timerRole(${its})` },
  listener: { exported: "tcpListener", interface: "tcp-listener", made: (its) => `listenerRole(${its})` },
  httpHandler: { exported: "httpHandler", interface: "http-handler", made: (its) => `httpHandlerRole(${its})` },
  admin: { exported: "admin", interface: "admin", made: (its) => `adminRole(${its})` },
  scheduler: { exported: "scheduler", interface: "scheduler", made: (its) => `schedulerRole(${its})` },
};

/** Names that are meant as a role's, in small letters. */
const MISNAMED = {
  handlers: "handler", handle: "handler", timers: "timer", fire: "timer", listeners: "listener", serve: "listener",
  tcplistener: "listener", tcphandler: "listener", httplistener: "httpHandler", http: "httpHandler", httphandlers: "httpHandler",
  admins: "admin", commands: "admin", schedulers: "scheduler", plan: "scheduler",
  ...Object.fromEntries(Object.keys(ROLES).map((name) => [name.toLowerCase(), name])),
};

const EXAMPLE = "export const handler = { handle(transaction, request) { return request; } };";

async function main(args) {
  const { entry, engine, out } = options(args);
  const checked = checkTypes(entry);
  checked.catch(() => {}); // awaited below, unless another mistake ends the build first
  const roles = rolesOf(entry, await exportsOf(entry, engine));
  const { source, table } = await bundleWithRoles(entry, engine, roles);
  await checked;
  const component = await componentize(entry, engine, roles, source, table);
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, component);
}

function options(args) {
  const usage = "usage: build.sh [--engine quickjs|starlingmonkey] [--out build/component.wasm] src/index.js";
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: { engine: { type: "string", default: "quickjs" }, out: { type: "string", default: "build/component.wasm" } },
    });
  } catch (error) {
    throw new BuildError(`${error.message}\n${usage}`);
  }
  const { values: { engine, out }, positionals: [entry, ...more] } = parsed;
  if (entry === undefined || more.length > 0) throw new BuildError(`name the package's first module\n${usage}`);
  if (!(engine in ENGINES)) throw new BuildError(`there is no engine ${engine}: ${Object.keys(ENGINES).join(" and ")} are there`);
  if (!existsSync(entry)) throw new BuildError(`${resolve(entry)} does not exist: recoil.toml's build.command names it`);
  if (!existsSync(contract)) throw new BuildError(`${contract} does not exist: the contract belongs beside the SDK, as \`recoilctl new\` puts it`);
  return { entry, engine, out };
}

/** Has the compiler check what is written in TypeScript, if the package has a tsconfig.json. */
async function checkTypes(entry) {
  if (!/\.[cm]?tsx?$/.test(entry) || !existsSync("tsconfig.json")) return;
  const compiler = join(tools(BASE), "node_modules", "typescript", "bin", "tsc");
  const pretty = String(Boolean(process.stderr.isTTY));
  const child = spawn(process.execPath, [compiler, "--noEmit", "--pretty", pretty, "-p", "tsconfig.json"], { stdio: ["ignore", 2, 2] });
  const status = await new Promise((done) => child.once("close", done));
  if (status !== 0) throw new BuildError("the types do not fit: the compiler's messages above say where");
}

/** The names that the module exports. */
async function exportsOf(entry, engine) {
  const { metafile } = await bundleForComponent(engine, { entryPoints: [entry], metafile: true, outdir: "." });
  const output = Object.values(metafile.outputs).find(({ entryPoint }) => entryPoint !== undefined);
  return output.exports;
}

function rolesOf(entry, exported) {
  const roles = exported.filter((name) => name in ROLES);
  for (const name of exported) {
    const meant = MISNAMED[name.toLowerCase().replaceAll("_", "")];
    if (!(name in ROLES) && meant !== undefined && !roles.includes(meant)) {
      throw new BuildError(`${entry} exports \`${name}\`, which is no role: name it \`${meant}\``);
    }
  }
  if (roles.includes("handler") || roles.join() === "scheduler") return roles; // a scheduler may be alone
  if (exported.includes("default")) {
    throw new BuildError(`${entry} has a default export, but roles are exported by their names:\n  ${EXAMPLE}`);
  }
  throw new BuildError(`${entry} exports no \`handler\`, which every package has (exported: ${exported.join(", ") || "nothing"}):\n  ${EXAMPLE}`);
}

/** One module that exports what the component does, and where its lines come from. */
async function bundleWithRoles(entry, engine, roles) {
  const has = (name) => roles.includes(name);
  const contents = [
    'import "#engine";',
    `import ${JSON.stringify(join(library, "component", "console.js"))};`,
    `import * as roles from ${JSON.stringify(join(library, "component", "roles.js"))};`,
    `import * as contents from ${JSON.stringify(resolve(entry))};`,
    ...roles.map((name) => `export const ${ROLES[name].exported} = roles.${ROLES[name].made(`contents.${name}`, has)};`),
  ].join("\n");
  const { outputFiles } = await bundleForComponent(engine, {
    stdin: { contents, resolveDir: library, sourcefile: join(library, "component.js") },
    sourcemap: "external", outfile: "component.js",
  });
  const [map, code] = outputFiles.map(({ text }) => text);
  const isShown = (source) => !resolve(source).startsWith(library);
  const table = lineTable(JSON.parse(map), isShown);
  return { source: code.replace('"__RECOIL_LINES__"', () => JSON.stringify(JSON.stringify(table))), table };
}

async function componentize(entry, engine, roles, source, table) {
  const folder = mkdtempSync(join(tmpdir(), "recoil-js-"));
  try {
    const { imports, componentize } = ENGINES[engine];
    const exports = roles.map((name) => `recoil:plugin/${ROLES[name].interface}@0.1.0`);
    cpSync(contract, join(folder, "wit", "deps", "recoil-plugin"), { recursive: true, filter: (path) => !path.endsWith(".md") });
    cpSync(join(import.meta.dirname, "random.wit"), join(folder, "wit", "deps", "wasi-random", "random.wit"));
    writeFileSync(join(folder, "wit", "world.wit"), world(imports, exports));
    return await componentize(source, folder);
  } catch (error) {
    if (error instanceof BuildError) throw error;
    throw new BuildError(`${relative(".", entry)} cannot be made a component: ${inAuthorsLines(error.message, table)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A position in the bundle, as either engine writes it. */
const POSITION = /(?:componentize-qjs:user|package)\.js:(\d+):\d+/;

/** What an engine says, with the author's lines in place of the bundle's. */
function inAuthorsLines(message, { files, lines }) {
  /** Undefined if there is no position in the text, null if it is none of the author's. */
  const placeOf = (text) => {
    const [found, line] = POSITION.exec(text) ?? [];
    const place = lines[line - 1];
    return found && (place ? `${files[place[0]]}:${place[1]}` : null);
  };
  return message
    .replace(/^.*Failed to finish JavaScript module evaluation: /s, "loading it throws: ")
    .replace(/^Failed to initialize component [^\n]*\nException while evaluating top-level script\n/, "loading it throws: ")
    .replace(/\nAdditionally, some promises were rejected.*?\nStack:/s, "")
    .split("\n")
    .filter((text, at) => at === 0 || placeOf(text) !== null) // positions in the SDK are nobody's concern
    .map((text) => text.replace(POSITION, () => placeOf(text) ?? "").replace(":  ", ": "))
    .join("\n")
    .trimEnd();
}

await run(main);
