// Stacks in terms of the author's files: the engines know the bundle only, the build puts in where its lines come from.

/**
 * A file of the author's for each number, and for each line of the bundle the number of its file and the line there, or
 * nothing. Put in by the build, on one line.
 */
const TABLE = "__RECOIL_LINES__";

/** The innermost: enough to see where a recursion goes round. */
const FRAMES_MAX = 20;

/** A position in the bundle, as QuickJS (`at name (componentize-qjs:user.js:1:2)`) and StarlingMonkey (`name@package.js:1:2`) write it. */
const FRAME = /^(?:\s*at )?(?:(.*?)(?: \(|@))?(?:componentize-qjs:user|package)\.js:(\d+):\d+\)?$/;

/** The author's frames of an error, a line each, each behind a line feed; empty if there are none. */
export function trace(thrown) {
  const { files, lines } = JSON.parse(TABLE);
  const frames = [];
  for (const frame of String(thrown?.stack ?? "").split("\n")) {
    const [, name, line] = FRAME.exec(frame) ?? [];
    const place = lines[line - 1];
    if (frames.length === FRAMES_MAX) break;
    if (place) frames.push(`\n    at ${name || "<anonymous>"} (${files[place[0]]}:${place[1]})`);
  }
  return frames.join("");
}
