// A router to partitions in memory.

import { attempt, RecoilError } from "../errors.js";
import { Router } from "../router.js";
import { compareBytes, toBytes } from "../values.js";
import { BytesMap } from "./bytesmap.js";
import { FakePartition } from "./partition.js";

export class FakeCluster extends Router {
  #state;

  constructor(contents, { partitions = 8, groups = 3 } = {}) {
    if (!(partitions > 0 && groups > 0)) throw new RangeError("a cluster has at least one partition and one group");
    const state = new State(contents, partitions, groups);
    super(state.port());
    this.#state = state;
  }

  get calls() {
    return this.#state.calls;
  }

  owner(key) {
    return this.#state.owner(toBytes(key, "key"));
  }

  partition(id) {
    return this.#state.partition(id);
  }

  failPartition(id, error = undefined) {
    if (error === undefined) this.#state.faults.delete(id);
    else this.#state.faults.set(id, error);
  }

  advance(microseconds) {
    return this.#state.partitions.reduce((fired, partition) => fired + partition.advance(microseconds), 0);
  }
}

class State {
  constructor(contents, partitions, groups) {
    this.partitions = Array.from({ length: partitions }, (_, id) => new FakePartition(contents, { id, count: partitions }));
    this.groups = groups;
    this.faults = new Map();
    /** The queues of each topic. */
    this.subscribers = new BytesMap();
    this.calls = 0;
  }

  port() {
    return {
      storage: this.#storage(),
      call: (call) => this.#call(call),
      callMany: (calls) => calls.map((call) => attempt(() => this.#call(call))),
      submit: (call) => {
        const answer = attempt(() => this.#call(call));
        return { answer, isReady: () => true, close() {} };
      },
      waitAll: (pending) => pending.map(({ answer }) => answer),
      transact: (calls) => this.#transact(calls),
      scatter: (request, mode) => this.partitions.map((_, id) => {
        return attempt(() => this.#call({ to: { tag: "partition", val: id }, request, mode }));
      }),
      locate: (key) => this.#info(this.owner(key)),
      partitions: () => this.partitions.map((_, id) => this.#info(id)),
      subscribe: (topic) => this.#subscribe(topic),
    };
  }

  /** FNV-1a: a test can rely on it, and a package cannot know it. */
  owner(key) {
    let hash = 0xcbf29ce484222325n;
    for (const byte of key) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    return Number((hash >> 32n) % BigInt(this.partitions.length));
  }

  partition(id) {
    const partition = this.partitions[id];
    if (partition === undefined) throw new RecoilError(`there is no partition ${id}: there are ${this.partitions.length}`);
    return partition;
  }

  #place({ tag, val }) {
    const id = tag === "key" ? this.owner(val) : val;
    this.partition(id);
    const fault = this.faults.get(id);
    if (fault !== undefined) throw fault;
    return id;
  }

  #call({ to, request, mode }) {
    const partition = this.partition(this.#place(to));
    this.calls += 1;
    return rejecting(() => {
      if (mode !== "write") return partition.read(request);
      const published = partition.published.length;
      const answer = partition.write(request);
      this.#deliver(partition.published.slice(published));
      return answer;
    });
  }

  #transact(calls) {
    const ids = calls.map(({ to }) => this.#place(to));
    const groups = [...new Set(ids.map((id) => id % this.groups))].sort();
    if (groups.length > 1) throw new RecoilError(`the transaction spans the groups ${groups.join(", ")}`);
    this.calls += calls.length;
    const begun = new Map([...new Set(ids)].map((id) => [id, this.partition(id).begin()]));
    try {
      const answers = calls.map(({ request }, at) => {
        const { handle, transaction } = begun.get(ids[at]);
        return rejecting(() => handle(transaction, request));
      });
      for (const { commit, publishes } of begun.values()) {
        commit();
        this.#deliver(publishes);
      }
      return answers;
    } catch (error) {
      for (const { rollBack } of begun.values()) rollBack();
      throw error;
    }
  }

  #deliver(messages) {
    for (const { topic, message } of messages) {
      for (const queue of this.subscribers.get(topic) ?? []) queue.push(message);
    }
  }

  #subscribe(topic) {
    const queue = [];
    const queues = this.subscribers.get(topic) ?? new Set();
    this.subscribers.set(topic, queues.add(queue));
    return { queue, next: () => queue.shift(), close: () => queues.delete(queue) };
  }

  #info(id) {
    const member = (id % this.groups) + 1;
    return { id, leader: member, replicas: [member], epoch: 1 };
  }

  /** As a listener sees it: each operation a transaction of the owner. */
  #storage() {
    const owned = (key, body) => this.partition(this.#place({ tag: "key", val: key })).transact(body);
    return {
      get: (key) => owned(key, (transaction) => transaction.get(key)),
      getMany: (keys) => keys.map((key) => owned(key, (transaction) => transaction.get(key))),
      put: (key, value) => owned(key, (transaction) => transaction.put(key, value)),
      putMany: (entries) => entries.forEach(({ key, value }) => owned(key, (transaction) => transaction.put(key, value))),
      remove: (key) => owned(key, (transaction) => transaction.remove(key)),
      removeRange: (range) => this.partitions.forEach((partition) => partition.transact((transaction) => transaction.removeRange(range))),
      scan: (range, limit, reverse) => this.partitions
        .flatMap((partition) => partition.view().scan(range, { limit, reverse }))
        .sort((left, right) => compareBytes(left.key, right.key) * (reverse ? -1 : 1))
        .slice(0, Math.min(limit, this.partitions[0].pageEntries)),
    };
  }
}

/** A handler's refusal reaches its caller as `rejected`; any other exception is a mistake, which the test shall see as it is. */
function rejecting(body) {
  try {
    return body();
  } catch (error) {
    throw error instanceof RecoilError ? new RecoilError(error.message) : error;
  }
}
