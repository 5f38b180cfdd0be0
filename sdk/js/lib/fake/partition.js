// One partition in memory.

import { RecoilError } from "../errors.js";
import { handlerFunction, roleMethod } from "../role.js";
import { Transaction } from "../transaction.js";
import { toBytes } from "../values.js";
import { BytesMap } from "./bytesmap.js";

const KEY_BYTES_MAX = 65_514;
const VALUE_BYTES_MAX = 8 << 20;
const TRANSACTION_BYTES_MAX = 16 << 20;
const TIMER_PAUSE_US = 1_000_000;

export class FakePartition {
  #package;
  #rows = new BytesMap();
  /** `{ atUs, payload }` by id. */
  #timers = new BytesMap();
  #place;
  #committed = 0;

  constructor(contents, { id = 0, count = 1 } = {}) {
    this.#package = contents;
    this.#place = Object.freeze({ keyspace: "default", id, count, epoch: 1 });
    this.published = [];
    this.nowUs = 1_750_000_000_000_000;
    this.pageEntries = 100;
  }

  write(request) {
    return this.transact((transaction) => this.#handle(transaction, request));
  }

  read(request) {
    return this.#handle(this.view(), request);
  }

  #handle(transaction, request) {
    return handlerFunction(this.#package.handler)(transaction, toBytes(request, "request"));
  }

  transact(body) {
    const call = this.begin();
    try {
      const answer = body(call.transaction);
      call.commit();
      return answer;
    } catch (error) {
      call.rollBack();
      throw error;
    }
  }

  /** A transaction that the caller ends. */
  begin() {
    this.nowUs += 1;
    const before = [this.#rows.clone(), this.#timers.clone()];
    const publishes = [];
    return {
      transaction: new Transaction(this.#port({ publishes, bytes: 0 })),
      publishes,
      handle: (transaction, request) => this.#handle(transaction, request),
      commit: () => {
        this.published.push(...publishes);
        this.#committed += 1;
      },
      rollBack: () => void ([this.#rows, this.#timers] = before),
    };
  }

  view() {
    return new Transaction(this.#port(undefined));
  }

  advance(microseconds) {
    const fire = roleMethod(this.#package.timer, "timer", "fire");
    const until = this.nowUs + microseconds;
    for (let fired = 0; ; fired++) {
      const [due] = this.timers().sort((left, right) => left.atUs - right.atUs);
      if (due === undefined || due.atUs > until) {
        this.nowUs = Math.max(this.nowUs, until);
        return fired;
      }
      this.nowUs = Math.max(this.nowUs, due.atUs);
      try {
        this.transact((transaction) => {
          this.#timers.delete(due.id);
          fire(transaction, due.id, due.payload);
        });
      } catch (error) {
        if (!(error instanceof RecoilError)) throw error;
        this.#timers.set(due.id, { atUs: this.nowUs + TIMER_PAUSE_US, payload: due.payload });
      }
    }
  }

  timers() {
    return this.#timers.range().map(({ key, value }) => ({ id: key, ...value }));
  }

  rows() {
    return this.#rows.range();
  }

  row(key) {
    return this.#rows.get(key);
  }

  insert(key, value) {
    this.#rows.set(key, toBytes(value, "value").slice());
  }

  /** The host of a call; `writes` is what it has written so far, undefined in a read-only one. */
  #port(writes) {
    const reserve = (bytes) => {
      if (writes === undefined) throw new RecoilError("", "read-only");
      writes.bytes += bytes;
      check("the writes come to", writes.bytes, TRANSACTION_BYTES_MAX);
    };
    const put = (key, value) => {
      check("the key has", key.length, KEY_BYTES_MAX);
      check("the value has", value.length, VALUE_BYTES_MAX);
      reserve(key.length + value.length);
      this.#rows.set(key, value.slice());
    };
    const get = (key) => this.#rows.get(key)?.slice();
    const copy = ({ key, value }) => ({ key: key.slice(), value: value.slice() });
    return {
      get,
      getMany: (keys) => keys.map(get),
      put,
      putMany: (entries) => entries.forEach(({ key, value }) => put(key, value)),
      remove: (key) => {
        reserve(key.length);
        this.#rows.delete(key);
      },
      removeRange: ({ start, end }) => {
        reserve(start.length);
        for (const { key } of this.#rows.range(start, end)) this.#rows.delete(key);
      },
      scan: ({ start, end }, limit, reverse) => {
        const entries = this.#rows.range(start, end);
        if (reverse) entries.reverse();
        return entries.slice(0, Math.min(limit, this.pageEntries)).map(copy);
      },
      place: () => this.#place,
      nowUs: () => this.nowUs,
      isReadOnly: () => writes === undefined,
      hasTimer: () => this.#package.timer !== undefined,
      setTimer: (id, atUs, payload) => this.#timers.set(id, { atUs, payload: payload.slice() }),
      cancelTimer: (id) => this.#timers.delete(id),
      publish: (topic, message) => writes?.publishes.push({ topic: topic.slice(), message: message.slice() }),
      consensus: this.#consensus,
    };
  }

  /** A group of one, which always has its quorum. */
  get #consensus() {
    const committed = this.#committed;
    return Object.freeze({
      status: () => ({ group: this.#place.id, role: "leader", term: 1, leader: 1, committed, applied: committed, voters: [1] }),
      barrier: () => committed,
    });
  }
}

function check(what, bytes, limit) {
  if (bytes > limit) throw new RecoilError(`${what} ${bytes} bytes: the limit is ${limit}`, "too-large");
}
