// The listener's side of the protocol, over TCP and HTTP.

import { HttpResponse, RoutedCall } from "#recoil";

import { anywhere, nothing, optional } from "./anywhere.js";
import { Arguments, decodeList, encodeAnswer, encodeError, encodeResult, invalid, option } from "./lists.js";

const FRAME_BYTES_MAX = 16 << 20;
const READ_BYTES = 1 << 20;
const TIMEOUT_MS_MAX = 0x7fff_ffff;

const mode = (args) => args.oneOf(["write", "read", "stale-read"]);
const keyed = (args, mode) => args.many(() => ({ key: args.bytes(), request: args.bytes(), mode }));

/** By their names: what answers, given the arguments and what the listener has: `router`, `peer`, over TCP also `connection` and `subscriptions`. */
const commands = {
  ...Object.fromEntries(Object.entries(anywhere).map(([name, run]) => [name, (args, { router }) => run(args, router.storage)])),
  "call": (args, { router }) => {
    const call = { mode: mode(args), key: args.bytes(), request: args.bytes() };
    return decodeList(router.call(call));
  },
  "call-partition": (args, { router }) => {
    const call = { mode: mode(args), partition: args.number(0xffff_ffff), request: args.bytes() };
    return decodeList(router.call(call));
  },
  "call-many": (args, { router }) => router.callMany(keyed(args, mode(args))).map(encodeResult),
  "submit": (args, { router }) => {
    const pending = keyed(args, mode(args)).map((call) => router.submit(call));
    return router.waitAll(pending).map(encodeResult);
  },
  "leave": (args, { router }) => {
    const [count, call] = [args.number(0xffff_ffff), RoutedCall.write(args.bytes(), args.bytes())];
    for (let left = 0; left < count; left++) router.submit(call);
    return [];
  },
  "transact": (args, { router }) => router.transact(keyed(args, "write")),
  "scatter": (args, { router }) => {
    const [itsMode, request] = [mode(args), args.bytes()];
    return router.scatter(request, itsMode).map(encodeResult);
  },
  "locate": (args, { router }) => {
    const { id, leader, replicas, epoch } = router.locate(args.bytes());
    return [String(id), option(leader === undefined ? undefined : String(leader)), replicas.join(","), String(epoch)];
  },
  "partitions": (_, { router }) => [String(router.partitions().length)],
  "subscribe": (args, { router, subscriptions }) => nothing(overTcp(subscriptions).push(router.subscribe(args.bytes()))),
  "next": (args, { subscriptions }) => {
    const subscription = overTcp(subscriptions)[args.number()];
    if (subscription === undefined) throw invalid("no such subscription");
    return optional(subscription.next(args.number(TIMEOUT_MS_MAX)));
  },
  "wait": (args, { connection, subscriptions }) => {
    const event = overTcp(connection).waitAny(subscriptions, args.number(TIMEOUT_MS_MAX));
    if (event === undefined) return [];
    return event.kind === "message" ? ["message", String(event.index)] : ["readable"];
  },
  "peer": (_, { peer }) => [peer],
};

function overTcp(value) {
  if (value === undefined) throw invalid("over TCP only");
  return value;
}

function answer(request, context) {
  try {
    const args = new Arguments(decodeList(request));
    const command = args.text();
    if (!Object.hasOwn(commands, command)) throw invalid(`unknown command ${command}`);
    return encodeAnswer(commands[command](args, context));
  } catch (error) {
    return encodeError(error);
  }
}

export const listener = {
  serve(connection, router) {
    const context = { router, connection, subscriptions: [], peer: connection.peerAddress };
    for (;;) {
      const head = readExactly(connection, 4);
      if (head === undefined) return;
      const length = new DataView(head.buffer).getUint32(0);
      if (length > FRAME_BYTES_MAX) return;
      const request = readExactly(connection, length);
      if (request === undefined) return;
      writeFrame(connection, answer(request, context));
    }
  },
};

/** Undefined if the stream ends before. */
function readExactly(connection, length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const chunk = connection.read(Math.min(length - at, READ_BYTES));
    if (chunk.length === 0) return undefined;
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function writeFrame(connection, frame) {
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, frame.length);
  connection.write(head);
  connection.write(frame);
}

export const httpHandler = {
  handle(request, router) {
    const [first, number] = request.segments;
    if (request.method === "POST" && request.path === "/call") {
      return { body: answer(request.body, { router, peer: request.peerAddress }) };
    }
    if (request.path === "/mirror") return mirror(request);
    if (first === "status" && /^\d{3}$/.test(number)) return { status: Number(number) };
    if (request.path === "/fail") throw invalid("as asked for");
    if (request.path === "/throw") throw new Error("as asked for");
    return HttpResponse.text(404, "not found");
  },
};

function mirror({ method, path, query, headers, body }) {
  const given = headers.filter(([name]) => name.startsWith("x-"));
  const seen = [["x-method", method], ["x-path", path], ["x-query", query]];
  return { headers: [...given, ...seen, ["content-type", "application/octet-stream"]], body };
}
