// A client's connection to a listener, on a port as `storage.js` describes.

import { Subscription } from "./router.js";
import { toArray, toBytes, toWhole } from "./values.js";

export class Connection {
  #port;

  constructor(port) {
    this.#port = port;
  }

  get peerAddress() {
    return this.#port.peerAddress();
  }

  read(limit) {
    return this.#port.read(toWhole(limit, "limit"));
  }

  write(data) {
    this.#port.write(toBytes(data, "data"));
  }

  waitAny(subscriptions, timeoutMs) {
    const handles = toArray(subscriptions, "subscriptions").map(Subscription.handle);
    const event = this.#port.waitAny(handles, toWhole(timeoutMs, "timeoutMs"));
    if (event?.kind !== "message") return event;
    return { ...event, subscription: subscriptions[event.index] };
  }
}
