// Commands that run in the handler and in the listener alike.

import { log, settings } from "#recoil";

import { option } from "./lists.js";

const LEVELS = ["trace", "debug", "info", "warn", "error"];

/** By their names: what answers, given the arguments and the storage. */
export const anywhere = {
  "echo": (args) => args.rest(),
  "get": (args, storage) => optional(storage.get(args.bytes())),
  "get-many": (args, storage) => storage.getMany(args.rest()).map(option),
  "put": (args, storage) => nothing(storage.put(args.bytes(), args.bytes())),
  "bump": (args, storage) => {
    const [key, value] = [args.bytes(), args.bytes()];
    const before = storage.get(key);
    storage.put(key, value);
    return [option(before)];
  },
  "put-many": (args, storage) => nothing(storage.putMany(args.many(() => ({ key: args.bytes(), value: args.bytes() })))),
  "remove": (args, storage) => nothing(storage.remove(args.bytes())),
  "remove-range": (args, storage) => nothing(storage.removeRange({ start: args.bytes(), end: args.option() })),
  "scan": (args, storage) => {
    const range = { start: args.bytes(), end: args.option() };
    const entries = storage.scan(range, { limit: args.number(0xffff_ffff), reverse: args.truth() });
    return entries.flatMap(({ key, value }) => [key, value]);
  },
  "log": (args) => nothing(log.write(args.oneOf(LEVELS), args.text())),
  "print": (args) => nothing(console.log(args.text())),
  "setting": (args) => optional(settings.text(args.text())),
  "churn": (args) => {
    const strings = Array.from({ length: args.number(0xffff_ffff) }, (_, at) => String(at));
    return [String(strings.reduce((sum, each) => sum + each.length, 0))];
  },
  "clock": () => [String(Date.now() * 1000)],
  "random": () => [crypto.getRandomValues(new Uint8Array(16))],
};

/** The answer of what is done for its effect. */
export const nothing = (_done) => [];
export const optional = (value) => (value === undefined ? [] : [value]);
