// Commands for operators, between an author's form and the contract's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { toCommands, toOutput } from "../lib/admin.js";
import { FakeCluster } from "../lib/fake.js";
import { RecoilError, RoutedCall } from "../lib/index.js";

const command = { words: " key  create", usage: "NAME", help: "Create a key. \ud800" };

test("commands are checked where they are answered", () => {
  assert.deepEqual(toCommands([command]), [{ words: ["key", "create"], usage: "NAME", help: "Create a key. \ufffd" }]);
  assert.deepEqual(toCommands([]), []);
  for (const [commands, said] of [
    [undefined, "the answer of admin.commands must be an array, not undefined"],
    [[null], "a command must be an object, not null"],
    [[{ ...command, words: ["key"] }], "command.words must be a string, not a value of Array"],
    [[{ ...command, words: "  " }], "command.words must have a word to call it by"],
    [[{ ...command, usage: undefined }], "command.usage must be a string, not undefined"],
    [[{ ...command, help: 1 }], "command.help must be a string, not the number 1"],
  ]) {
    assert.throws(() => toCommands(commands), { name: "TypeError", message: said });
  }
});

test("what a command prints is text, or nothing", () => {
  assert.equal(toOutput("grüße \ud800"), "grüße \ufffd");
  assert.equal(toOutput(undefined), "");
  assert.throws(() => toOutput(7), { name: "TypeError", message: "the answer of admin.run must be a string, not the number 7" });
});

test("a command reaches the data by its router", () => {
  const contents = {
    handler: {
      handle(transaction, request) {
        const before = transaction.get("note");
        transaction.put("note", request);
        return before ?? "";
      },
    },
    admin: {
      commands: () => [{ words: "note put", usage: "KEY TEXT", help: "Keep a text." }],
      run([note, put, key, text], router) {
        if (note !== "note" || put !== "put" || text === undefined) throw new RecoilError("write note put KEY TEXT");
        return `${key} was '${new TextDecoder().decode(router.call(RoutedCall.write(key, text)))}'`;
      },
    },
  };
  const cluster = new FakeCluster(contents);
  assert.equal(contents.admin.run(["note", "put", "größe", "one"], cluster), "größe was ''");
  assert.equal(contents.admin.run(["note", "put", "größe", "two"], cluster), "größe was 'one'");
  assert.throws(() => contents.admin.run(["note"], cluster), { name: "RecoilError", message: "write note put KEY TEXT" });
});
