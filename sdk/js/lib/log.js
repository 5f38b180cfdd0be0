// Lines in the package's log. In a native test they go to standard error.

import { write as writeLine } from "#platform";
import { describe } from "./values.js";

const LEVELS = ["trace", "debug", "info", "warn", "error"];

function write(level, message) {
  if (!LEVELS.includes(level)) {
    throw new TypeError(`level must be one of ${LEVELS.join(", ")}, not ${describe(level)}`);
  }
  writeLine(level, String(message));
}

export const log = Object.freeze({
  write,
  trace: (message) => write("trace", message),
  debug: (message) => write("debug", message),
  info: (message) => write("info", message),
  warn: (message) => write("warn", message),
  error: (message) => write("error", message),
});
