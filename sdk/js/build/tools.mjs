// The tools that builds use, pinned by lock files and installed once for each lock file.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { BuildError } from "./failure.mjs";

const sdk = join(import.meta.dirname, "..");

/** Of esbuild, QuickJS and TypeScript; of StarlingMonkey, which is five times as large. */
export const BASE = sdk;
export const STARLINGMONKEY = join(sdk, "starlingmonkey");

/** A folder with the tools of `lockFolder` in its `node_modules`. */
export function tools(lockFolder) {
  const lock = readFileSync(join(lockFolder, "package-lock.json"));
  const cache = process.env.RECOIL_TOOLS
    || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "recoil", "tools");
  const folder = join(cache, `js-${createHash("sha256").update(lock).digest("hex").slice(0, 16)}`);
  if (!existsSync(folder)) install(lockFolder, cache, folder);
  return folder;
}

/** Into a folder beside it, which then takes its name: another build sees all of the tools or none. */
function install(lockFolder, cache, folder) {
  process.stderr.write(`installing the tools for JavaScript into ${folder}, once\n`);
  mkdirSync(cache, { recursive: true });
  const temporary = mkdtempSync(join(cache, ".js-"));
  try {
    for (const name of ["package.json", "package-lock.json"]) copyFileSync(join(lockFolder, name), join(temporary, name));
    // The programs of this platform are optional dependencies, which an .npmrc may leave out.
    const args = ["ci", "--include=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const { status, error } = spawnSync("npm", args, { cwd: temporary, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
    if (error !== undefined) throw new BuildError(`npm cannot be run (${error.code}): it comes with Node.js, or in your system's package npm`);
    if (status !== 0) throw new BuildError("npm could not install the tools: what is printed above says why. It needs the network, this once");
    try {
      renameSync(temporary, folder);
    } catch (renaming) {
      if (!existsSync(folder)) throw renaming; // else another build was first
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The module at `path` among the tools in `folder`. */
export async function load(folder, path) {
  const module = await import(pathToFileURL(join(folder, "node_modules", path)));
  return module.default ?? module;
}
