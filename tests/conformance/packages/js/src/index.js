// The conformance package: see ../../../PROTOCOL.md.

export { admin } from "./admin.js";
export { handler, timer } from "./handler.js";
export { httpHandler, listener } from "./listener.js";
export { scheduler } from "./planner.js";
