// Views and plans, between the engines' form and an author's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { toPlan, toView } from "../lib/scheduler.js";

const view = (number) => ({
  nodes: [{ id: 7, state: "live", locality: [["zone", "a"]], capacityBytes: number(1000), usedBytes: number(0), cpuLoad: 0.5 }],
  rules: [{ keyspace: 1, replication: 3, required: [], spreadBy: ["zone"], leaderPreference: [] }],
  partitions: [{ keyspace: 1, id: 0, replicas: [], load: { readsPerSecond: 1.5, writesPerSecond: 0, cpuSecondsPerSecond: 0, bytes: number(5) } }],
});

test("a view is the same on either engine", () => {
  assert.deepEqual(toView(view(Number)), view(BigInt));
  assert.deepEqual(toView(view(BigInt)), view(BigInt));
});

test("a plan is checked where it is answered", () => {
  const placement = { keyspace: 1, id: 0, replicas: [7, 4_294_967_295], reason: "a \ud800" };
  assert.deepEqual(toPlan([placement]), [{ ...placement, reason: "a \ufffd" }]);
  assert.deepEqual(toPlan([]), []);
  for (const [plan, said] of [
    [undefined, "the answer of scheduler.plan must be an array, not undefined"],
    [[null], "a placement must be an object, not null"],
    [[{ ...placement, id: "0" }], "placement.id must be a whole number from 0 to 4294967295, not the string 0"],
    [[{ ...placement, keyspace: 1n }], "placement.keyspace must be a whole number from 0 to 4294967295, not the bigint 1"],
    [[{ ...placement, replicas: [-1] }], "a node of placement.replicas must be a whole number from 0 to 4294967295, not the number -1"],
    [[{ ...placement, replicas: 7 }], "placement.replicas must be an array, not the number 7"],
    [[{ ...placement, reason: undefined }], "placement.reason must be a string, not undefined"],
  ]) {
    assert.throws(() => toPlan(plan), { name: "TypeError", message: said });
  }
});
