/**
 * Write a Recoil package in JavaScript or TypeScript.
 *
 * A package is one WebAssembly component. What its first module *exports* are its roles: `handler` owns data, one instance for
 * each partition, each request a transaction; `timer` is told when time has come; `listener` speaks a network protocol and sends
 * requests to partitions; `httpHandler` answers HTTP requests; `admin` has commands for operators; `scheduler` decides where
 * partitions live.
 *
 * ```js
 * export const handler = {
 *   handle(transaction, request) {
 *     const seen = Number(new TextDecoder().decode(transaction.get(request) ?? new Uint8Array())) + 1;
 *     transaction.put(request, String(seen));
 *     return String(seen);
 *   },
 * };
 * ```
 *
 * Code is written in direct style, as for a thread per connection: every function that has something to wait for waits, and none
 * is `async`.
 *
 * @packageDocumentation
 */

/// <reference path="./globals.d.ts" />

/** Bytes, or a text that stands for its UTF-8. */
export type Bytes = Uint8Array | string;

// Roles

/** Owns data. One instance for each partition, on the partition's leader; requests are answered one at a time. */
export interface Handler {
  /**
   * Answers one request inside one transaction. No answer is an empty one.
   *
   * A {@link RecoilError} rolls back everything this call did and reaches the caller as `rejected`, with its message. Any other
   * exception is a mistake: it does the same, and is written to the log with its stack. The call may be evaluated again if its
   * writes could not be committed, so it must have no effects but those on `transaction`; what it keeps in memory between calls
   * is a cache only, and must survive the rollback of the call that filled it.
   */
  handle(transaction: Transaction, request: Uint8Array): Bytes | undefined | void;
}

/** Is told when a timer that a transaction set has come due. */
export interface Timer {
  /**
   * Called at least once, in a transaction that also removes the timer, so that its writes happen exactly once. An exception
   * rolls back and is tried again after a pause that doubles from 1 s to 1 min.
   */
  fire(transaction: Transaction, id: Uint8Array, payload: Uint8Array): void;
}

/** Speaks a network protocol. An instance of its own for each open connection. */
export interface Listener {
  /**
   * Serves one connection until it ends: reads, calls partitions, writes, as a thread per connection would. When this returns
   * the connection is closed; an exception is written to the package's log.
   */
  serve(connection: Connection, router: Router): void;
}

/**
 * Answers HTTP requests. The host owns the server; an instance answers one request at a time and is kept for later ones, so that
 * what it holds in memory is a cache only.
 */
export interface HttpHandler {
  /**
   * Answers one request. An exception is answered with status 500 and written to the package's log; what the client should know
   * goes into an answer.
   */
  handle(request: HttpRequest, router: Router): HttpResponse | HttpAnswer;
}

/**
 * Has commands for operators, which `recoilctl APP ARGUMENTS…` runs. Each call has an instance of its own, which has a router as that
 * of a listener has, and neither partition nor connection.
 */
export interface Admin {
  /** What `recoilctl APP --help` lists. An exception ends the instance, with its stack in the log: there is no list then. */
  commands(): Command[];
  /**
   * Runs the command that the operator typed behind the app's name, and answers what is printed, as it is. No answer is an empty one.
   *
   * An exception is printed as an error, and recoilctl fails. The operator may break a command off at any time, so it should be safe
   * to run it again.
   */
  run(typed: string[], router: Router): string | undefined | void;
}

/** A command, as recoilctl lists it. */
export interface Command {
  /** The words by which it is called, with spaces between them, such as `key create`. */
  words: string;
  /** What follows them, such as `NAME [--bucket BUCKET]`. */
  usage: string;
  /** What it does: one sentence for an operator. */
  help: string;
}

/** Decides where partitions live, in the place of the host's own scheduler. A package with no other role needs no handler. */
export interface Scheduler {
  /**
   * Says where partitions should be: only those that should change, most urgent first.
   *
   * A plan is a function of its view: there is nothing else to look at. One that is refused for the rules it breaks, an exception and
   * a plan that takes too long leave the placement to the host's own scheduler, with the reason in the node's log.
   */
  plan(view: View): Placement[];
}

// What a scheduler is shown, and what it plans

/** All that a plan is made of. */
export interface View {
  nodes: ViewNode[];
  rules: Rule[];
  partitions: ViewPartition[];
}

/** What a node is to the cluster: `draining` serves and is about to leave, `down` does not answer. */
export type NodeState = "live" | "draining" | "down";

/** A key and its value, as `zone` and `a`: where a node is, or where a replica must be. */
export type Label = [key: string, value: string];

/** A node of the cluster. */
export interface ViewNode {
  /** The number that `replicas` name it by. */
  id: number;
  state: NodeState;
  /** Where it is, from the widest to the narrowest. */
  locality: Label[];
  /** What its disk holds. */
  capacityBytes: bigint;
  /** What of that is taken. */
  usedBytes: bigint;
  /** What of its processors is busy. */
  cpuLoad: number;
}

/** What a partition costs. */
export interface Load {
  readsPerSecond: number;
  writesPerSecond: number;
  cpuSecondsPerSecond: number;
  /** What it holds. */
  bytes: bigint;
}

/** A partition and where it is now. */
export interface ViewPartition {
  keyspace: number;
  id: number;
  /** Nodes, the preferred leader first; none if it is nowhere yet. */
  replicas: number[];
  load: Load;
}

/** What holds for a keyspace. */
export interface Rule {
  keyspace: number;
  /** How many replicas each partition has. */
  replication: number;
  /** What every replica's node must have. */
  required: Label[];
  /** Keys of labels in whose values replicas should differ. */
  spreadBy: string[];
  /** What the leader's node should have, if one can. */
  leaderPreference: Label[];
}

/** Where a partition should be. */
export interface Placement {
  keyspace: number;
  id: number;
  /** Nodes, the preferred leader first. */
  replicas: number[];
  /** Why, for operators. */
  reason: string;
}

// Errors

/**
 * What kind of refusal it is:
 *
 * | kind | |
 * |---|---|
 * | `too-large` | A key, a value or the writes of a transaction are above a limit, which the message names. Retrying does not help. |
 * | `read-only` | A write in a read-only call. The caller must route it as a `write`. |
 * | `quota-exceeded` | The app is over its storage quota. Retrying helps once data has been removed. |
 * | `unavailable` | No leader or quorum before the deadline. A call has written nothing; of a write of {@link Router.storage} the outcome may be unknown. Retrying may help. |
 * | `rejected` | The handler threw an exception; nothing was written. Retrying helps only if the handler says so. |
 * | `failed` | The handler trapped or ran out of its time or memory, nothing was written; or a connection broke. |
 * | `unknown-outcome` | The leader was lost after the request was sent. A retry may apply the request twice. |
 * | `conflict` | A transaction lost to a conflicting one; nothing was written. Retry. |
 * | `closed` | The client has closed the connection. |
 * | `timed-out` | The client sent or took nothing for the app's idle limit. |
 */
export type ErrorKind =
  | "too-large" | "read-only" | "quota-exceeded" | "unavailable"
  | "rejected" | "failed" | "unknown-outcome" | "conflict"
  | "closed" | "timed-out";

/** A refusal: by the host, by a handler that was called, or by this package, whose handlers throw it to refuse a request. */
export class RecoilError extends Error {
  /**
   * @param message - What the caller is told.
   * @param kind - Any of {@link ErrorKind}, or a word of your own; `rejected` if absent. A handler's caller sees `rejected` in any case.
   */
  constructor(message: string, kind?: ErrorKind | (string & {}));
  /** What kind of refusal it is. */
  readonly kind: ErrorKind | (string & {});
}

/** The outcome of one call of several. */
export type Result = { ok: true; value: Uint8Array } | { ok: false; error: RecoilError };

// Storage

/** A row. */
export interface Entry {
  key: Uint8Array;
  value: Uint8Array;
}

/** Half-open: `start` is included, `end` is not; what is absent is open. */
export interface KeyRange {
  start?: Bytes;
  end?: Bytes;
}

/** Makes ranges of keys. */
export const KeyRange: {
  /** Every key. */
  all(): KeyRange;
  /** Every key that begins with `prefix`. */
  prefix(prefix: Bytes): KeyRange;
  /** From `start`, which is included, to `end`, which is not. */
  between(start: Bytes, end: Bytes): KeyRange;
};

/**
 * An ordered, transactional space of byte strings. In a handler it is the partition's, and the writes of one request become
 * visible together or not at all. {@link Router.storage} is a listener's: each call is one operation on the owner of the key.
 *
 * Default limits: keys 65,514 bytes, values 8 MiB, the writes of one transaction 16 MiB; beyond, a {@link RecoilError} of the kind
 * `too-large`.
 */
export class Storage {
  protected constructor();
  /** The value of `key`, including what this transaction wrote; undefined if there is none. */
  get(key: Bytes): Uint8Array | undefined;
  /** Values in the order of `keys`, in one crossing. */
  getMany(keys: Bytes[]): (Uint8Array | undefined)[];
  /** Writes one value. */
  put(key: Bytes, value: Bytes): void;
  /** Writes many values in one crossing; a later entry of the same key wins. In a listener: atomic per partition only. */
  putMany(entries: { key: Bytes; value: Bytes }[]): void;
  /** Removes one value. Removing an absent key is not an error. */
  remove(key: Bytes): void;
  /** Removes every key of a range. */
  removeRange(range: KeyRange): void;
  /**
   * At most `limit` entries in key order, descending if `reverse`. Fewer may come before the range ends (pages are 4 MiB), but at
   * least one if there is one: only an empty page is the end. {@link Storage.entries} pages by itself.
   *
   * @param options - `limit` is 1,024 if absent.
   */
  scan(range: KeyRange, options?: { limit?: number; reverse?: boolean }): Entry[];
  /** The entries of a range (every entry, if absent) in key order, read page by page as the iterator is advanced. */
  entries(range?: KeyRange, options?: { reverse?: boolean }): Generator<Entry, void, undefined>;
}

// Transactions

/** Which partition a transaction is on. */
export interface PartitionPlace {
  keyspace: string;
  /** From 0 to `count` - 1. */
  id: number;
  /** Partitions of the keyspace. */
  count: number;
  /** Grows when the partition moves. */
  epoch: number;
}

/** One request's transaction on one partition. Every effect of it happens when the request succeeds, or not at all. */
export class Transaction extends Storage {
  /** Which partition this is. */
  readonly place: PartitionPlace;
  /**
   * Microseconds since the Unix epoch: the same throughout the call, and greater than that of every earlier writing transaction
   * of this partition.
   */
  readonly nowUs: number;
  /** True when the caller asked for a read; writes then fail with the kind `read-only`. */
  readonly isReadOnly: boolean;
  /** The Raft group behind the partition, for packages that want more than transactions. */
  readonly consensus: Consensus;
  /**
   * Has {@link Timer.fire} called with `payload`, not before `atUs` (microseconds since the Unix epoch). The same `id` replaces.
   * Only in writing transactions of a package that exports `timer`.
   */
  setTimer(id: Bytes, atUs: number, payload?: Bytes): void;
  /** Cancelling an absent timer is not an error. Only in writing transactions. */
  cancelTimer(id: Bytes): void;
  /** Sends `message` to every subscriber of `topic` once this transaction has committed, at most once. */
  publish(topic: Bytes, message: Bytes): void;
}

/** What a replica knows of its Raft group. Nodes are named by their member numbers. */
export interface GroupStatus {
  group: number;
  role: "leader" | "follower" | "learner";
  term: number;
  /** Absent during an election. */
  leader: number | undefined;
  committed: number;
  applied: number;
  voters: number[];
}

/** The Raft group behind a partition. */
export interface Consensus {
  /** What this replica knows of its group. */
  status(): GroupStatus;
  /**
   * Confirms with a quorum that this replica leads and has applied everything committed before the call; answers the applied
   * index. Throws a {@link RecoilError} of the kind `unavailable` when leadership or quorum was lost.
   */
  barrier(): number;
}

// Routing

/**
 * `write` may write, and is answered once its writes are committed on a quorum. `read` is linearizable: it sees every write
 * answered before the call was made. `stale-read` may be answered by any replica from what it has applied: old, but a state that
 * once was.
 */
export type Mode = "write" | "read" | "stale-read";

/** A request to the owner of a key, or to a partition by its id (from 0). */
export type RoutedCall =
  | { key: Bytes; partition?: undefined; request: Bytes; mode: Mode }
  | { partition: number; key?: undefined; request: Bytes; mode: Mode };

/** Makes routed calls. */
export const RoutedCall: {
  /** A call to the owner of `key` that may write. */
  write(key: Bytes, request: Bytes): RoutedCall;
  /** A linearizable read from the owner of `key`. */
  read(key: Bytes, request: Bytes): RoutedCall;
  /** A read from any replica of the owner of `key`. */
  staleRead(key: Bytes, request: Bytes): RoutedCall;
  /** A call to a partition by its id. */
  toPartition(partition: number, request: Bytes, mode: Mode): RoutedCall;
};

/** A partition, and where it is. Nodes are named by their member numbers. */
export interface PartitionInfo {
  id: number;
  /** Absent during an election. */
  leader: number | undefined;
  replicas: number[];
  epoch: number;
}

/** How a listener reaches partitions, wherever their leaders are. Calls to one partition are answered in the order in which they were made. */
export class Router {
  protected constructor();
  /** The package's storage, each call of it one routed, linearizable operation on the owner of the key. */
  readonly storage: Storage;
  /** Runs the handler of one partition and waits for its answer. */
  call(call: RoutedCall): Uint8Array;
  /** Many calls in one crossing, by far the cheapest batch; answers in their order. Each succeeds or fails by itself. */
  callMany(calls: RoutedCall[]): Result[];
  /**
   * Starts a call without waiting, to overlap it with other work. Up to 1,000 are under way at a time; one more waits for the
   * oldest, whose answer is kept for it.
   */
  submit(call: RoutedCall): Pending;
  /** The answers to submitted calls, in their order. */
  waitAll(pending: Pending[]): Result[];
  /**
   * All or nothing across partitions, serializable; answers in the order of `calls`. All partitions must belong to one Raft group
   * (keys with one owner always do), otherwise a {@link RecoilError} of the kind `rejected`.
   */
  transact(calls: RoutedCall[]): Uint8Array[];
  /** One call to every partition, answers in partition order. Not a transaction. */
  scatter(request: Bytes, mode: Mode): Result[];
  /** The partition that owns `key`, and where it is. */
  locate(key: Bytes): PartitionInfo;
  /** Every partition, in the order of their ids. */
  partitions(): PartitionInfo[];
  /** What handlers of this package publish on `topic` from now on, at most once. */
  subscribe(topic: Bytes): Subscription;
}

/** A call under way. Closing it forgets the answer, not the call; it is closed by itself when `serve` or `handle` returns. */
export class Pending {
  protected constructor();
  /** True when {@link Pending.wait} would not block. */
  isReady(): boolean;
  /** The answer, which is had once. */
  wait(): Uint8Array;
  /** Forgets the answer. */
  close(): void;
  [Symbol.dispose](): void;
}

/**
 * Messages of one topic, from the moment of subscribing until it is closed, which happens by itself when `serve` or `handle`
 * returns. A subscriber more than 1,024 messages behind loses some.
 */
export class Subscription {
  protected constructor();
  /** The next message; undefined when `timeoutMs` have passed without one. */
  next(timeoutMs: number): Uint8Array | undefined;
  /** Ends it. */
  close(): void;
  [Symbol.dispose](): void;
}

// Connections

/** What {@link Connection.waitAny} waited for: input (or the end of the stream), or a message of a subscription. */
export type Event =
  | { kind: "readable" }
  | { kind: "message"; index: number; subscription: Subscription };

/** A stream of bytes with a client at its other end. */
export class Connection {
  protected constructor();
  /** Address and port of the client, as `127.0.0.1:50312` or `[::1]:50312`. */
  readonly peerAddress: string;
  /** Waits for at least one byte, returns at most `limit` (and at most 1 MiB); no bytes are the end of the stream. */
  read(limit: number): Uint8Array;
  /**
   * Waits until the host has buffered the bytes, not until they are sent. What is buffered is sent before the next `read` or
   * `waitAny` waits.
   */
  write(data: Bytes): void;
  /**
   * Waits for input or for a message, whichever is first; undefined on timeout. The end of the stream is readable. A message is
   * only announced, by its subscription and the place of that in `subscriptions`; {@link Subscription.next} takes it.
   */
  waitAny(subscriptions: Subscription[], timeoutMs: number): Event | undefined;
}

// HTTP

/** Headers as they are given: an object (whose values may be arrays), or pairs. */
export type HeadersInit = Record<string, Bytes | Bytes[]> | Iterable<[string, Bytes]>;

/**
 * A request has bytes that are not UTF-8 where they are read as text. An HTTP handler that does not catch it answers 400; the bytes as
 * they were sent are in `path`, `query`, `headers` and `body`.
 */
export class MalformedRequestError extends RecoilError {
  constructor(message: string);
  readonly kind: "rejected";
}

/** A request, read to its end. */
export class HttpRequest {
  /** A request as a test makes it: `new HttpRequest({ method: "GET", target: "/hello/world?loud=1" })`. */
  constructor(request?: {
    method?: string; target?: string; path?: string; query?: string; headers?: HeadersInit; body?: Bytes; peerAddress?: string;
  });
  /** `GET`, say. */
  readonly method: string;
  /** From the first slash up to the question mark, as sent: percent-encoding is not undone. */
  readonly path: string;
  /** Behind the question mark, without it, as sent. */
  readonly query: string;
  /** Lower-case names and values, in the order sent. */
  readonly headers: [string, Uint8Array][];
  readonly body: Uint8Array;
  /** The client, as `address:port`. */
  readonly peerAddress: string;
  /** The first header of that name, in any case, as text. Throws a {@link MalformedRequestError} if it is not UTF-8. */
  header(name: string): string | undefined;
  /**
   * The parts of the path between slashes, percent-encoding undone, as text. Throws a {@link MalformedRequestError} if it is not
   * UTF-8. An encoded slash stays inside its part.
   */
  readonly segments: string[];
  /**
   * The first value of that name in the query, percent-encoding and plus signs undone; empty if it has none. Throws a
   * {@link MalformedRequestError} if it is not UTF-8.
   */
  queryValue(name: string): string | undefined;
  /** The body as text. Throws a {@link MalformedRequestError} if it is not UTF-8. */
  text(): string;
  /** The body as JSON. Throws a SyntaxError if it is none, a {@link MalformedRequestError} if it is not UTF-8. */
  json(): unknown;
}

/** What an answer is made of. */
export interface HttpAnswer {
  /** 200 to 599; 200 if absent. */
  status?: number;
  /** The length and whatever belongs to the connection are the host's. */
  headers?: HeadersInit;
  /** At most the limit `answer_bytes`. */
  body?: Bytes;
}

/** An answer. */
export class HttpResponse {
  constructor(answer?: HttpAnswer);
  /** An answer in plain text. */
  static text(status: number, text: string): HttpResponse;
  /** An answer in JSON. */
  static json(status: number, value: unknown): HttpResponse;
  readonly status: number;
  /** Lower-case names and values. */
  readonly headers: [string, Uint8Array][];
  readonly body: Uint8Array;
  /** The first header of that name, in any case, as text. */
  header(name: string): string | undefined;
  /** The body as text. */
  text(): string;
  /** The body as JSON. */
  json(): unknown;
}

// What is around a package

/** How much a line of the log matters. */
export type Level = "trace" | "debug" | "info" | "warn" | "error";

/**
 * Lines in the package's log, which the host keeps and fills in: node, partition, call. Lines above 8 KiB are cut. `console` writes
 * there as well. In a native test the lines go to standard error.
 */
export const log: {
  write(level: Level, message: string): void;
  trace(message: string): void;
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
};

/**
 * What the operator has set for this app: the manifest's defaults, and what `recoilctl set` changed. In a native test there is no
 * manifest: `setSetting` of `#recoil/fake` gives values.
 */
export const settings: {
  /** The value of a setting, as text; undefined if the manifest has no such setting. */
  text(name: string): string | undefined;
  /** The value of a setting whose default is a number. */
  integer(name: string): number | undefined;
  /** The value of a setting whose default is true or false. */
  boolean(name: string): boolean | undefined;
};

// Encoding

/** Bytes that are not what they should be. */
export class DecodeError extends Error {
  constructor(position: number, why: string);
  /** Offset in the input. */
  readonly position: number;
}

/**
 * Builds keys whose byte order is the order of their parts, so that a scan returns them sorted:
 * `new Key(1).bytes("name").u64(2).finish()`.
 */
export class Key {
  /** @param kind - One byte, which keeps a package's kinds of rows apart. */
  constructor(kind: number);
  /** A byte string of any content. */
  bytes(part: Bytes): this;
  u32(part: number): this;
  /** Below 2^53. */
  u64(part: number): this;
  /** Between -2^53 and 2^53: negative ones first. */
  i64(part: number): this;
  f64(part: number): this;
  finish(): Uint8Array;
}

/** Takes the parts of a {@link Key} off its front. */
export class KeyReader {
  constructor(key: Bytes);
  readonly kind: number;
  bytes(): Uint8Array;
  u32(): number;
  u64(): number;
  i64(): number;
  f64(): number;
  /** Succeeds only when every part was read. */
  finish(): void;
}

/** Appends values to a buffer: little-endian numbers, and byte strings behind their length. */
export class Writer {
  u8(value: number): this;
  u32(value: number): this;
  /** Below 2^53. */
  u64(value: number): this;
  /** A number in one to eight bytes, small ones in few. */
  count(value: number): this;
  bytes(value: Bytes): this;
  finish(): Uint8Array;
}

/** Takes values off the front of a buffer. Throws a {@link DecodeError} when they are not there. */
export class Reader {
  constructor(input: Bytes);
  /** An error at the present position. */
  error(why: string): DecodeError;
  /** Bytes not yet read. */
  readonly remaining: number;
  /** The next `length` bytes. */
  raw(length: number): Uint8Array;
  u8(): number;
  u32(): number;
  u64(): number;
  count(): number;
  bytes(): Uint8Array;
  /** Succeeds only when everything was read. */
  finish(): void;
}
