/**
 * The host, in memory: what a package's logic runs on in native tests, by `node --test`.
 *
 * ```js
 * import * as greeter from "../src/index.js";
 *
 * const cluster = new FakeCluster(greeter); // 8 partitions in 3 groups
 * const answer = greeter.httpHandler.handle(new HttpRequest({ target: "/hello/world" }), cluster);
 * ```
 *
 * Where the contract leaves a choice to the host, the fakes take the one that is harder for the package (short pages, refused
 * transactions); where it promises something, they keep it. There are no memory limits and no deadlines.
 *
 * A {@link RecoilError} of a handler reaches the caller as `rejected`, as in a cluster; any other exception is a mistake in the
 * package and comes out of the call as it is.
 *
 * @packageDocumentation
 */

import type { Bytes, Connection, Entry, Handler, Router, RecoilError, Timer, Transaction } from "./index.js";

/** The exports of a package that partitions need: the namespace of its first module will do. */
export interface Package {
  handler?: Handler;
  timer?: Timer;
}

/** One partition: storage, time, timers, published messages, rollback, read-only calls and the contract's limits. */
export class FakePartition {
  /** An empty partition, which is `id` of `count`, the only one if absent, at a time in 2025. */
  constructor(contents: Package, place?: { id?: number; count?: number });
  /** What was published so far, in commit order. */
  published: { topic: Uint8Array; message: Uint8Array }[];
  /** The time of the last transaction; each writing one is at least a microsecond later. */
  nowUs: number;
  /** The most entries a page of a scan holds, whatever was asked for. */
  pageEntries: number;
  /** Answers a request that may write, in a transaction of its own. An exception has changed nothing. */
  write(request: Bytes): Uint8Array;
  /** Answers a request that may only read. */
  read(request: Bytes): Uint8Array;
  /** Runs `body` as a writing transaction: an exception rolls it back. */
  transact<T>(body: (transaction: Transaction) => T): T;
  /** A read-only transaction. */
  view(): Transaction;
  /**
   * Lets time pass, and fires what comes due, in the order of time. Answers how many timers fired. A timer that fails stays, due a
   * second later, and is not tried again by this call unless that second is within it.
   */
  advance(microseconds: number): number;
  /** Timers that are set. */
  timers(): { id: Uint8Array; atUs: number; payload: Uint8Array }[];
  /** All rows, in the order of their keys. */
  rows(): Entry[];
  /** The value of one row. */
  row(key: Bytes): Uint8Array | undefined;
  /** Puts a row there, outside of any transaction. */
  insert(key: Bytes, value: Bytes): void;
}

/** A router to partitions in memory. Partition `p` belongs to group `p % groups`; a transaction over several groups is rejected. */
export class FakeCluster extends Router {
  /** Partitions of a package: 8 in 3 groups if absent. */
  constructor(contents: Package, size?: { partitions?: number; groups?: number });
  /** Calls evaluated so far. */
  readonly calls: number;
  /** The id of the partition that owns `key`. */
  owner(key: Bytes): number;
  /** A partition, to look at or to change. */
  partition(id: number): FakePartition;
  /** From now on calls to partition `id` fail with `error` and are not evaluated; no error heals. */
  failPartition(id: number, error?: RecoilError): void;
  /** Lets time pass on every partition, and fires what comes due. Answers how many timers fired. */
  advance(microseconds: number): number;
}

/** A connection whose input is given beforehand, chunk by chunk, and whose output is kept. After the last chunk comes the end of the stream. */
export class FakeConnection extends Connection {
  /** A client that sends `chunks`, each of which one `read` returns (if its limit allows). */
  constructor(chunks?: Iterable<Bytes>);
  /** Everything written so far. */
  readonly output: Uint8Array;
  /** The same as text. */
  readonly outputText: string;
  /** How often `write` was called. */
  readonly writes: number;
}

/** From now on the setting `name` has this value. */
export function setSetting(name: string, value: string | number | boolean): void;
