// How a listener reaches partitions, on a port as `storage.js` describes.

import { attempt } from "./errors.js";
import { closed, opened } from "./resources.js";
import { Storage } from "./storage.js";
import { describe, toArray, toBytes, toObject, toWhole } from "./values.js";

const MODES = ["write", "read", "stale-read"];

/** Calls under way at a time; the host has a limit of 1,024 for each connection. */
const PENDING_MAX = 1000;

export const RoutedCall = Object.freeze({
  write: (key, request) => ({ key, request, mode: "write" }),
  read: (key, request) => ({ key, request, mode: "read" }),
  staleRead: (key, request) => ({ key, request, mode: "stale-read" }),
  toPartition: (partition, request, mode) => ({ partition, request, mode }),
});

function toMode(mode) {
  if (MODES.includes(mode)) return mode;
  throw new TypeError(`mode must be one of ${MODES.join(", ")}, not ${describe(mode)}`);
}

/** A call in the contract's form. */
function toCall(call) {
  const { key, partition, request, mode } = toObject(call, "call");
  if ((key === undefined) === (partition === undefined)) {
    throw new TypeError("a call goes to the owner of a key or to a partition: give it either `key` or `partition`");
  }
  const to = key === undefined
    ? { tag: "partition", val: toWhole(partition, "call.partition") }
    : { tag: "key", val: toBytes(key, "call.key") };
  return { to, request: toBytes(request, "call.request"), mode: toMode(mode) };
}

const toCalls = (calls) => toArray(calls, "calls").map(toCall);

export class Router {
  #port;
  /** In the order of submission. */
  #pending = new Set();

  constructor(port) {
    this.#port = port;
    this.storage = new Storage(port.storage);
  }

  call(call) {
    return this.#port.call(toCall(call));
  }

  callMany(calls) {
    return this.#port.callMany(toCalls(calls));
  }

  submit(call) {
    const routed = toCall(call);
    if (this.#pending.size >= PENDING_MAX) {
      const [oldest] = this.#pending;
      Pending.settle([oldest], this.#port);
    }
    return new Pending(this.#port.submit(routed), this.#port, this.#pending);
  }

  waitAll(pending) {
    return Pending.settle(toArray(pending, "pending"), this.#port).map((each) => attempt(() => each.wait()));
  }

  transact(calls) {
    return this.#port.transact(toCalls(calls));
  }

  scatter(request, mode) {
    return this.#port.scatter(toBytes(request, "request"), toMode(mode));
  }

  locate(key) {
    return this.#port.locate(toBytes(key, "key"));
  }

  partitions() {
    return this.#port.partitions();
  }

  subscribe(topic) {
    return new Subscription(this.#port.subscribe(toBytes(topic, "topic")));
  }
}

export class Pending {
  /** The port's: absent once the answer has been taken from it. */
  #handle;
  #answer;
  #port;
  #pending;

  constructor(handle, port, pending) {
    this.#handle = handle;
    this.#port = port;
    this.#pending = pending;
    pending.add(this);
    opened(this);
  }

  /** Takes the answers of those still under way off the host, in one crossing. */
  static settle(pending, port) {
    const waiting = pending.filter((each) => each.#handle !== undefined);
    const answers = port.waitAll(waiting.map((each) => each.#take()));
    waiting.forEach((each, at) => (each.#answer = answers[at]));
    return pending;
  }

  isReady() {
    return this.#handle === undefined || this.#handle.isReady();
  }

  wait() {
    if (this.#handle !== undefined) Pending.settle([this], this.#port);
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer === undefined) throw new TypeError("the answer was taken already, or forgotten: a call is waited for once");
    if (answer.ok) return answer.value;
    throw answer.error;
  }

  close() {
    this.#answer = undefined;
    if (this.#handle !== undefined) this.#take().close();
  }

  #take() {
    const handle = this.#handle;
    this.#handle = undefined;
    this.#pending.delete(this);
    closed(this);
    return handle;
  }
}

export class Subscription {
  /** The port's: absent once closed. */
  #handle;

  constructor(handle) {
    this.#handle = handle;
    opened(this);
  }

  /** The port's side of `subscription`, for `Connection.waitAny`. */
  static handle(subscription) {
    if (!(subscription instanceof Subscription)) {
      throw new TypeError(`subscriptions must come from router.subscribe: one is ${describe(subscription)}`);
    }
    if (subscription.#handle === undefined) throw new TypeError("the subscription is closed");
    return subscription.#handle;
  }

  next(timeoutMs) {
    return Subscription.handle(this).next(toWhole(timeoutMs, "timeoutMs"));
  }

  close() {
    this.#handle?.close();
    this.#handle = undefined;
    closed(this);
  }
}

// `using` in TypeScript and in engines that have it.
if (Symbol.dispose !== undefined) {
  for (const { prototype } of [Pending, Subscription]) {
    Object.defineProperty(prototype, Symbol.dispose, { value: prototype.close });
  }
}
