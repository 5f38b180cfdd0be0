// The ports on the host's functions, in a component. Invariant: no logic; each method is one call of the contract, its
// arguments and answers in this SDK's form on either engine: StarlingMonkey has BigInt where QuickJS has numbers, and
// undefined where QuickJS has null.

import * as consensus from "recoil:plugin/consensus@0.1.0";
import * as log from "recoil:plugin/log@0.1.0";
import * as partition from "recoil:plugin/partition@0.1.0";
import * as router from "recoil:plugin/router@0.1.0";
import * as settings from "recoil:plugin/settings@0.1.0";
import * as storage from "recoil:plugin/storage@0.1.0";

import { received, U64 } from "#engine";
import { RecoilError } from "../errors.js";
import { hasHost, whenBegun } from "./life.js";

const WRITE_BYTES = 1 << 20;

/** What the engine throws for an `err` holds it as `payload`: a variant of the contract, or a text. */
function translate(thrown) {
  const payload = thrown?.payload;
  if (payload === undefined) return thrown;
  return typeof payload === "string" ? new RecoilError(payload, "unavailable") : toError(payload);
}

const toError = ({ tag, val }) => new RecoilError(val, tag);

function refusing(call) {
  return (...args) => {
    try {
      return call(...args);
    } catch (thrown) {
      throw translate(thrown);
    }
  };
}

const absent = (value) => value ?? undefined;
const optionalBytes = (value) => (value === null || value === undefined ? undefined : received(value));
const toResult = ({ tag, val }) => (tag === "ok" ? { ok: true, value: received(val) } : { ok: false, error: toError(val) });
const toInfo = ({ id, leader, replicas, epoch }) => ({
  id, leader: absent(leader), replicas: [...replicas], epoch: Number(epoch),
});

const storagePort = {
  get: refusing((key) => optionalBytes(storage.get(key))),
  getMany: refusing((keys) => Array.from(storage.getMany(keys), optionalBytes)),
  put: refusing((key, value) => storage.put(key, value)),
  putMany: refusing((entries) => storage.putMany(entries)),
  remove: refusing((key) => storage.remove(key)),
  removeRange: refusing((range) => storage.removeRange(range)),
  scan: refusing((range, limit, reverse) => {
    return Array.from(storage.scan(range, limit, reverse), ({ key, value }) => ({ key: received(key), value: received(value) }));
  }),
};

const consensusPort = Object.freeze({
  status() {
    const { group, role, term, leader, committed, applied, voters } = consensus.status();
    return {
      group: Number(group), role, term: Number(term), leader: absent(leader),
      committed: Number(committed), applied: Number(applied), voters: [...voters],
    };
  },
  barrier: refusing(() => Number(consensus.barrier())),
});

/** Of the call that a handler or timer is in. `hasTimer`: whether the package exports `timer`. */
export const transactionPort = (hasTimer) => ({
  ...storagePort,
  place() {
    const { keyspace, id, count, epoch } = partition.current();
    return { keyspace, id, count, epoch: Number(epoch) };
  },
  nowUs: () => Number(partition.now()),
  isReadOnly: () => partition.isReadOnly(),
  hasTimer: () => hasTimer,
  setTimer: (id, atUs, payload) => partition.setTimer(id, U64(atUs), payload),
  cancelTimer: (id) => partition.cancelTimer(id),
  publish: (topic, message) => partition.publish(topic, message),
  consensus: consensusPort,
});

export const routerPort = {
  storage: storagePort,
  call: refusing((call) => received(router.call(call))),
  callMany: (calls) => Array.from(router.callMany(calls), toResult),
  submit(call) {
    const resource = router.submit(call);
    return { resource, isReady: () => resource.isReady(), close: () => resource[Symbol.dispose]() };
  },
  waitAll: (pending) => Array.from(router.waitAll(pending.map(({ resource }) => resource)), toResult),
  transact: refusing((calls) => Array.from(router.transact(calls), received)),
  scatter: (request, mode) => Array.from(router.scatter(request, mode), toResult),
  locate: (key) => toInfo(router.locate(key)),
  partitions: () => Array.from(router.partitions(), toInfo),
  subscribe(topic) {
    const resource = router.subscribe(topic);
    return {
      resource,
      next: (timeoutMs) => optionalBytes(resource.next(timeoutMs)),
      close: () => resource[Symbol.dispose](),
    };
  },
};

export const connectionPort = (connection) => ({
  peerAddress: () => connection.peerAddress(),
  read: refusing((limit) => received(connection.read(limit))),
  write: refusing((data) => {
    // In pieces: the engine copies what it hands over, and an instance may have little memory left beside the data.
    for (let at = 0; at < data.length; at += WRITE_BYTES) connection.write(data.subarray(at, at + WRITE_BYTES));
  }),
  waitAny(subscriptions, timeoutMs) {
    const event = absent(connection.waitAny(subscriptions.map(({ resource }) => resource), timeoutMs));
    if (event === undefined) return undefined;
    return event.tag === "message" ? { kind: "message", index: event.val } : { kind: "readable" };
  },
  close: () => connection[Symbol.dispose](),
});

/** A text that the host takes: a half of a surrogate pair has no form in UTF-8. */
export const wellFormed = (text) => text.toWellFormed();

/** Of lines written while the package is loaded, so many are kept. */
const EARLY_LINES_MAX = 100;
const early = [];

export function write(level, message) {
  if (hasHost()) log.write(level, wellFormed(message));
  else if (early.length < EARLY_LINES_MAX) early.push([level, message]);
}

whenBegun(() => early.forEach((line) => write(...line)));

export function setting(name) {
  if (!hasHost()) throw new Error("there are no settings while the package is loaded, which is when it is built: read them in a call");
  return absent(settings.get(wellFormed(name)));
}
