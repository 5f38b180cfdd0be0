// `console` and `print`, to the package's log. Evaluated before anything of the author's.

import { format } from "./format.js";
import { write } from "./host.js";
import { trace } from "./trace.js";

/** A line of the log for each line of the text, as where standard output goes to the log. */
const writeLines = (level, text) => text.split("\n").forEach((line) => write(level, line));
const logger = (level) => (...values) => writeLines(level, format(values, trace));

globalThis.console = {
  log: logger("info"),
  info: logger("info"),
  debug: logger("debug"),
  trace: logger("trace"),
  warn: logger("warn"),
  error: logger("error"),
  dir: (value) => writeLines("info", format([value], trace)),
  assert(condition, ...values) {
    if (!condition) writeLines("error", `assertion failed${values.length > 0 ? `: ${format(values, trace)}` : ""}`);
  },
};
globalThis.print = globalThis.console.log;
