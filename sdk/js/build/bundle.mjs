// An author's modules and what they import, as one module: esbuild, which also takes TypeScript and npm dependencies.

import { builtinModules } from "node:module";
import { join } from "node:path";

import { BuildError } from "./failure.mjs";
import { BASE, load, tools } from "./tools.mjs";

const library = join(import.meta.dirname, "..", "lib");

/** Resolves the SDK's name to this SDK, wherever the package lies. */
const sdk = (isTest) => ({
  name: "recoil-sdk",
  setup(build) {
    build.onResolve({ filter: /^#recoil(\/.*)?$/ }, ({ path, importer }) => {
      if (path === "#recoil") return { path: join(library, "index.js") };
      if (path === "#recoil/fake" && isTest) return { path: join(library, "fake.js") };
      if (path === "#recoil/fake") return { errors: [{ text: "#recoil/fake is for tests: a package cannot contain it" }] };
      return { errors: [{ text: `there is no ${path}: #recoil and, for tests, #recoil/fake are there (imported by ${importer})` }] };
    });
  },
});

/** Says it in the words of a package's author when a module of Node.js is imported. */
const builtins = {
  name: "node-builtins",
  setup(build) {
    build.onResolve({ filter: /^[^./#]/ }, async ({ path, pluginData, ...rest }) => {
      const isBuiltin = path.startsWith("node:") || builtinModules.includes(path);
      if (!isBuiltin || pluginData === "looked") return undefined;
      const found = await build.resolve(path, { ...rest, pluginData: "looked" });
      if (found.errors.length === 0) return found; // a package of that name, for use outside Node.js
      return { errors: [{ text: `${path} is a module of Node.js: a package runs without it, and reaches the world through #recoil only` }] };
    });
  },
};

/** Runs esbuild with `options`; what it finds wrong is thrown as it prints it. */
async function bundle(options) {
  const esbuild = await load(tools(BASE), "esbuild/lib/main.js");
  try {
    return await esbuild.build({ bundle: true, format: "esm", charset: "utf8", logLevel: "silent", ...options });
  } catch (error) {
    if (error.errors === undefined) throw error;
    const messages = await esbuild.formatMessages(error.errors, { kind: "error", color: process.stderr.isTTY });
    throw new BuildError(`the package cannot be bundled\n\n${messages.join("").trimEnd()}`);
  }
}

/** For a component on `engine`. */
export function bundleForComponent(engine, options) {
  return bundle({
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["recoil", engine, "module"],
    target: "es2023",
    define: { "process.env.NODE_ENV": '"production"' },
    external: ["recoil:*", "wasi:*"],
    write: false,
    plugins: [sdk(false), builtins],
    ...options,
  });
}

/** For Node.js, into the folder `outdir`; packages stay outside. */
export function bundleForNode(entryPoints, outdir) {
  return bundle({
    platform: "node", target: "node20", packages: "external", entryPoints, outdir,
    outExtension: { ".js": ".mjs" }, sourcemap: "inline", plugins: [sdk(true)],
  });
}
