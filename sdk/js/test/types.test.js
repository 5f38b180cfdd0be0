// The declarations say what is there, no more and no less.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import * as fake from "../lib/fake.js";
import * as index from "../lib/index.js";

const cluster = new fake.FakeCluster({ handler: { handle: () => "" } });
/** One of each class that a package is given or makes. */
const samples = {
  RecoilError: new index.RecoilError("why"),
  MalformedRequestError: new index.MalformedRequestError("why"),
  Storage: cluster.storage,
  Transaction: cluster.partition(0).view(),
  Router: cluster,
  Pending: cluster.submit(index.RoutedCall.write("", "")),
  Subscription: cluster.subscribe(""),
  Connection: new fake.FakeConnection(),
  HttpRequest: new index.HttpRequest(),
  HttpResponse: new index.HttpResponse(),
  DecodeError: new index.DecodeError(0, "why"),
  Key: new index.Key(0),
  KeyReader: new index.KeyReader("k"),
  Writer: new index.Writer(),
  Reader: new index.Reader(""),
  FakePartition: cluster.partition(0),
  FakeCluster: cluster,
  FakeConnection: new fake.FakeConnection(),
};

/** For fakes and the port between them; a package has no use for them. */
const INTERNAL = { FakePartition: ["begin"], Pending: ["settle"], Subscription: ["handle"], Reader: [] };

for (const [file, module] of Object.entries({ "index.d.ts": index, "fake.d.ts": fake })) {
  const declarations = readFileSync(join(import.meta.dirname, "..", "lib", file), "utf8");

  test(`${file} declares every export`, () => {
    const declared = Array.from(declarations.matchAll(/^export (?:class|const|function) (\w+)/gm), ([, name]) => name);
    assert.deepEqual(declared.sort(), Object.keys(module).sort());
  });

  for (const [, name, body] of declarations.matchAll(/^export class (\w+)[^{]*\{\n(.*?)^\}/gms)) {
    test(`${file} declares every member of ${name}`, () => {
      const members = Array.from(body.matchAll(/^  (?:static |readonly )*(\w+)[(<?:]/gm), ([, member]) => member);
      const declared = new Set(members.filter((member) => !["constructor", "protected"].includes(member)));
      const [type, sample] = [module[name], samples[name]];
      const own = [type, type.prototype].flatMap(Object.getOwnPropertyNames).concat(Object.keys(sample));
      const inherited = new Set([...Object.getOwnPropertyNames(Object.getPrototypeOf(type)), "storage"]);
      for (const member of declared) assert.ok(member in sample || member in type, `${name}.${member} is declared only`);
      const builtin = ["length", "name", "prototype", "constructor", "stack", "message"];
      const undeclared = own.filter((member) => !declared.has(member) && !builtin.includes(member) && !inherited.has(member));
      assert.deepEqual(undeclared.filter((member) => !INTERNAL[name]?.includes(member)), []);
    });
  }
}
