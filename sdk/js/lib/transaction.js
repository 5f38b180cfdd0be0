// The call that a handler or timer is in: its partition's storage, its time, its timers and what it publishes.

import { RecoilError } from "./errors.js";
import { Storage } from "./storage.js";
import { toBytes, toWhole } from "./values.js";

export class Transaction extends Storage {
  #port;

  constructor(port) {
    super(port);
    this.#port = port;
  }

  get place() {
    return this.#port.place();
  }

  get nowUs() {
    return this.#port.nowUs();
  }

  get isReadOnly() {
    return this.#port.isReadOnly();
  }

  get consensus() {
    return this.#port.consensus;
  }

  setTimer(id, atUs, payload = "") {
    const timer = [toBytes(id, "id"), toWhole(atUs, "atUs", Number.MAX_SAFE_INTEGER), toBytes(payload, "payload")];
    this.#mayWrite();
    if (!this.#port.hasTimer()) {
      throw new TypeError("setTimer needs an export that is called when time has come: export const timer = { fire(transaction, id, payload) { … } }");
    }
    this.#port.setTimer(...timer);
  }

  cancelTimer(id) {
    const name = toBytes(id, "id");
    this.#mayWrite();
    this.#port.cancelTimer(name);
  }

  publish(topic, message) {
    this.#port.publish(toBytes(topic, "topic"), toBytes(message, "message"));
  }

  /** The host ends an instance that sets timers in a read-only call; an exception costs the call only. */
  #mayWrite() {
    if (this.#port.isReadOnly()) throw new RecoilError("", "read-only");
  }
}
