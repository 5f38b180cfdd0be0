import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeCluster, FakeConnection } from "#recoil/fake";

import * as contents from "../src/index.js";

test("words are counted wherever they live", () => {
  const cluster = new FakeCluster(contents); // partitions in memory
  const connection = new FakeConnection(["pear\nap", "ple\npear\n"]);
  contents.listener.serve(connection, cluster);
  assert.equal(connection.outputText, "1\n1\n2\n");
});
