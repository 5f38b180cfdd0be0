// The conformance package: see ../../../PROTOCOL.md.

export { handler, timer } from "./handler.js";
export { httpHandler, listener } from "./listener.js";
export { scheduler } from "./planner.js";
