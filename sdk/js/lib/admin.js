// The commands that a package has for operators, checked. Deliberately absent: classes; a command is a plain object, as a test writes it down.

import { describe, toArray, toObject } from "./values.js";

/** An author's list of commands, as the contract has it. */
export function toCommands(commands) {
  return toArray(commands, "the answer of admin.commands").map((each) => {
    const { words, usage, help } = toObject(each, "a command");
    const called = text(words, "command.words").split(" ").filter((word) => word !== "");
    if (called.length === 0) throw new TypeError("command.words must have a word to call it by");
    return { words: called, usage: text(usage, "command.usage"), help: text(help, "command.help") };
  });
}

/** What a command prints: nothing if it answers nothing. */
export function toOutput(output) {
  return text(output ?? "", "the answer of admin.run");
}

function text(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} must be a string, not ${describe(value)}`);
  return value.toWellFormed();
}
