// A client that has already said everything it will say.

import { Connection } from "../connection.js";
import { toBytes, toText } from "../values.js";

export class FakeConnection extends Connection {
  #written = [];

  constructor(chunks = []) {
    const input = [...chunks].map((chunk) => toBytes(chunk, "a chunk")).filter((chunk) => chunk.length > 0);
    const written = [];
    super({
      peerAddress: () => "127.0.0.1:50312",
      read(limit) {
        const chunk = input.shift() ?? new Uint8Array();
        if (chunk.length > limit) input.unshift(chunk.subarray(limit));
        return chunk.slice(0, limit);
      },
      write: (data) => void written.push(data.slice()),
      waitAny(subscriptions) {
        const index = subscriptions.findIndex(({ queue }) => queue.length > 0);
        return index < 0 ? { kind: "readable" } : { kind: "message", index };
      },
    });
    this.#written = written;
  }

  get output() {
    const output = new Uint8Array(this.#written.reduce((length, data) => length + data.length, 0));
    let at = 0;
    for (const data of this.#written) {
      output.set(data, at);
      at += data.length;
    }
    return output;
  }

  get outputText() {
    return toText(this.output);
  }

  get writes() {
    return this.#written.length;
  }
}
