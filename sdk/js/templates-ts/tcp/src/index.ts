// Counts words: each line it is sent is answered with how often it was sent.

import { type Connection, type Handler, type Listener, RoutedCall } from "#recoil";

const LINE_BYTES_MAX = 64 << 10;
const LINE_FEED = 0x0a;

const decoder = new TextDecoder();

export const handler = {
  // Runs on the leader of the word's partition. Every request is a transaction.
  handle(transaction, word) {
    const seen = transaction.get(word);
    const count = seen === undefined ? 1 : Number(decoder.decode(seen)) + 1;
    transaction.put(word, String(count));
    return String(count);
  },
} satisfies Handler;

export const listener = {
  // Runs for each connection, on the node that the client has found; blocks as a thread would.
  serve(connection, router) {
    for (const line of lines(connection)) {
      const word = decoder.decode(line).trim();
      const count = decoder.decode(router.call(RoutedCall.write(word, word)));
      connection.write(`${count}\n`);
    }
  },
} satisfies Listener;

/** The lines of a connection, until it ends or one is too long. */
function* lines(connection: Connection): Generator<Uint8Array> {
  let input = new Uint8Array();
  while (input.length <= LINE_BYTES_MAX) {
    const read = connection.read(4096);
    if (read.length === 0) return;
    const joined = new Uint8Array(input.length + read.length);
    joined.set(input);
    joined.set(read, input.length);
    let start = 0;
    for (let end: number; (end = joined.indexOf(LINE_FEED, start)) >= 0; start = end + 1) yield joined.subarray(start, end);
    input = joined.subarray(start);
  }
}
