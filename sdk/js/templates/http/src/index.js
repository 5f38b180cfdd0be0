// Greets whoever asks: `GET /hello/NAME` counts the greetings of each name.

import { HttpResponse, RoutedCall, settings } from "#recoil";

const decoder = new TextDecoder();

/** @type {import("#recoil").Handler} */
export const handler = {
  // Runs on the leader of the name's partition. Every request is a transaction.
  handle(transaction, name) {
    const greeted = transaction.get(name);
    const count = greeted === undefined ? 1 : Number(decoder.decode(greeted)) + 1;
    transaction.put(name, String(count));
    return String(count);
  },
};

/** @type {import("#recoil").HttpHandler} */
export const httpHandler = {
  // Runs on the node that the client has found, and asks partitions through the router.
  handle(request, router) {
    const [hello, name, ...more] = request.segments;
    if (request.method !== "GET" || hello !== "hello" || name === undefined || more.length > 0) {
      return HttpResponse.text(404, "try /hello/NAME\n");
    }
    const count = decoder.decode(router.call(RoutedCall.write(name, name)));
    const greeting = settings.text("greeting") ?? "hello";
    return HttpResponse.text(200, `${greeting} ${name}, greeting number ${count}\n`);
  },
};
