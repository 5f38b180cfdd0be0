// What the engines leave unsaid: that a name which browsers or Node.js have is not there, and what is there instead.

const TIMERS = "timers are not supported: the host's functions wait by themselves, and what a transaction schedules calls the `timer`";
const NETWORK = "sockets are not supported: a `listener` or an `httpHandler` is given its connections, and a Router reaches partitions";
const THREADS = "threads are not supported: an instance answers one call at a time; router.callMany and router.submit overlap calls";
const NODE = "what Node.js has is not supported: a package runs without it, and reaches the world through #recoil only";

/** By the name that is not defined. */
const REASONS = {
  setTimeout: TIMERS, setInterval: TIMERS, setImmediate: TIMERS,
  fetch: NETWORK, XMLHttpRequest: NETWORK, WebSocket: NETWORK, EventSource: NETWORK,
  Worker: THREADS, SharedWorker: THREADS,
  process: NODE, Buffer: NODE, require: NODE, __dirname: NODE, __filename: NODE,
};

/** A line for the log behind an error, behind a line feed; empty if there is nothing to say about it. */
export function advice(thrown) {
  if (!(thrown instanceof ReferenceError)) return "";
  const [name] = /\w+(?= is not defined)/.exec(thrown.message) ?? [];
  return Object.hasOwn(REASONS, name) ? `\n${REASONS[name]}` : "";
}
