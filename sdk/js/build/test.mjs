// Runs a package's tests: see test.sh.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { bundleForNode } from "./bundle.mjs";
import { BuildError, run } from "./failure.mjs";

/** In the package's folder, so that its dependencies are found from there. */
const BUNDLES = join("build", "test");

await run(async (files) => {
  if (files.length === 0) throw new BuildError("name the files of the tests: test.sh test/*.test.ts");
  const absent = files.find((file) => !existsSync(file));
  if (absent !== undefined) throw new BuildError(`there is no ${absent}: recoil.toml's build.test names the files of the tests`);
  rmSync(BUNDLES, { recursive: true, force: true });
  await bundleForNode(files, BUNDLES);
  const bundles = readdirSync(BUNDLES, { recursive: true }).filter((name) => name.endsWith(".mjs"));
  const args = ["--enable-source-maps", "--test", ...bundles.map((name) => join(BUNDLES, name))];
  process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
});
