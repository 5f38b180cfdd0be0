// What ends a build: the author's mistake, or a machine that lacks something. Shown without this program's stack.

export class BuildError extends Error {}

/** Runs `main`; a `BuildError` becomes one message and the exit code 1. */
export async function run(main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    process.exitCode = 1;
  }
}
