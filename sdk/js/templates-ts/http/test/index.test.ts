import assert from "node:assert/strict";
import { test } from "node:test";

import { HttpRequest } from "#recoil";
import { FakeCluster, setSetting } from "#recoil/fake";

import * as contents from "../src/index.ts";

test("each name has a count of its own", () => {
  const cluster = new FakeCluster(contents); // partitions in memory
  const ask = (target: string) => {
    const answer = contents.httpHandler.handle(new HttpRequest({ target }), cluster);
    return [answer.status, answer.text()];
  };
  assert.deepEqual(ask("/hello/world"), [200, "hello world, greeting number 1\n"]);
  assert.deepEqual(ask("/hello/world"), [200, "hello world, greeting number 2\n"]);
  assert.deepEqual(ask("/hello/moon"), [200, "hello moon, greeting number 1\n"]);
  setSetting("greeting", "hi");
  assert.deepEqual(ask("/hello/moon"), [200, "hi moon, greeting number 2\n"]);
  assert.equal(ask("/elsewhere")[0], 404);
});
