// Commands for operators: they reach the data by calls of the handler, and print what they were given.

import { RecoilError } from "#recoil";

import { decodeList, encodeList } from "./lists.js";

const decoder = new TextDecoder();

/** What the handler answers to a command whose first argument is the key. */
const call = (router, mode, ...command) => decodeList(router.call({ key: command[1], request: encodeList(command), mode }));

/** By their words: how they are listed, and what they do with what follows; undefined for arguments that do not fit. */
const COMMANDS = {
  "key put": {
    usage: "KEY VALUE",
    help: "Put a value at a key.",
    run: ([key, value, ...more], router) => {
      if (value === undefined || more.length > 0) return undefined;
      call(router, "write", "put", key, value);
      return "";
    },
  },
  "key get": {
    usage: "KEY",
    help: "Print the value of a key.",
    run: ([key, ...more], router) => {
      if (key === undefined || more.length > 0) return undefined;
      const [value] = call(router, "read", "get", key);
      if (value === undefined) throw new RecoilError("no such key");
      return decoder.decode(value);
    },
  },
  "echo": {
    usage: "WORDS…",
    help: "Print the words, each in brackets: [größe].",
    run: (words) => words.map((word) => `[${word}]`).join(""),
  },
  "fail": {
    usage: "TEXT",
    help: "Refuse, for this reason.",
    run: ([text, ...more]) => {
      if (text === undefined || more.length > 0) return undefined;
      throw new RecoilError(text);
    },
  },
  "throw": {
    usage: "TEXT",
    help: "Throw an exception.",
    run: ([text, ...more]) => {
      if (text === undefined || more.length > 0) return undefined;
      throw new Error(text);
    },
  },
};

export const admin = {
  commands: () => Object.entries(COMMANDS).map(([words, { usage, help }]) => ({ words, usage, help })),
  run(typed, router) {
    for (const [words, { run }] of Object.entries(COMMANDS)) {
      const called = words.split(" ");
      const output = called.every((word, at) => word === typed[at]) ? run(typed.slice(called.length), router) : undefined;
      if (output !== undefined) return output;
    }
    throw new RecoilError("no such command");
  },
};
