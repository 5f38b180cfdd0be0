// The handler's side of the protocol, and the timer's.

import { RecoilError } from "#recoil";

import { anywhere, nothing } from "./anywhere.js";
import { Arguments, decodeList, encodeList, errorLine, invalid } from "./lists.js";

const MIB = 1 << 20;

/** By their names: what answers, given the arguments and the transaction. */
const commands = {
  ...anywhere,
  "current": (_, { place: { keyspace, id, count, epoch } }) => [keyspace, ...[id, count, epoch].map(String)],
  "now": (_, transaction) => [String(transaction.nowUs)],
  "is-read-only": (_, transaction) => [String(transaction.isReadOnly)],
  "set-timer": (args, transaction) => {
    return nothing(transaction.setTimer(args.bytes(), transaction.nowUs + args.number(), args.bytes()));
  },
  "cancel-timer": (args, transaction) => nothing(transaction.cancelTimer(args.bytes())),
  "publish": (args, transaction) => nothing(transaction.publish(args.bytes(), args.bytes())),
  "status": (_, { consensus }) => {
    const { role, term, committed, applied, voters } = consensus.status();
    return [role, ...[term, committed, applied, voters.length].map(String)];
  },
  "barrier": (_, { consensus }) => [String(consensus.barrier())],
  "put-and-fail": (args, transaction) => {
    transaction.put(args.bytes(), args.bytes());
    throw new RecoilError(args.text());
  },
  "put-and-throw": (args, transaction) => {
    transaction.put(args.bytes(), args.bytes());
    throw new Error(args.text());
  },
  "trap": (_, transaction) => {
    for (;;) transaction.publish("trap", ""); // an instance that publishes more than a call may is ended by the host
  },
  "loop": () => {
    for (;;);
  },
  "bomb": () => {
    for (const kept = []; ; ) kept.push(new Uint8Array(MIB).fill(1));
  },
  "recurse": function recurse(args) {
    return [...recurse(args), ""];
  },
};

export const handler = {
  handle(transaction, request) {
    try {
      const args = new Arguments(decodeList(request));
      const command = args.text();
      if (!Object.hasOwn(commands, command)) throw invalid(`unknown command ${command}`);
      return encodeList(commands[command](args, transaction));
    } catch (error) {
      // A refusal of this package's own is what `put-and-fail` answers, word for word.
      if (error instanceof RecoilError && error.kind !== "rejected") throw new RecoilError(errorLine(error));
      throw error;
    }
  },
};

export const timer = {
  fire(transaction, id, payload) {
    const prefix = new TextEncoder().encode("fired:");
    const key = new Uint8Array(prefix.length + id.length);
    key.set(prefix);
    key.set(id, prefix.length);
    transaction.put(key, payload);
  },
};
