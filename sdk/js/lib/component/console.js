// `console` and `print`, to the package's log. Evaluated before anything of the author's.

import { format } from "./format.js";
import { write } from "./host.js";
import { trace } from "./trace.js";

const logger = (level) => (...values) => write(level, format(values, trace));

globalThis.console = {
  log: logger("info"),
  info: logger("info"),
  debug: logger("debug"),
  trace: logger("trace"),
  warn: logger("warn"),
  error: logger("error"),
  dir: (value) => write("info", format([value], trace)),
  assert(condition, ...values) {
    if (!condition) write("error", `assertion failed${values.length > 0 ? `: ${format(values, trace)}` : ""}`);
  },
};
globalThis.print = globalThis.console.log;
