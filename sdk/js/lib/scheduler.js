// What a scheduler is shown, and what it answers. Deliberately absent: classes; both are plain objects, as a test writes them down.

import { describe, toArray, toObject, toWhole } from "./values.js";

/** StarlingMonkey hands out a BigInt; QuickJS a number, which is rounded from 2^53 on, and negative within 2^31 of 2^64. */
const toBigInt = (received) => BigInt.asUintN(64, BigInt(received));

/** The view as authors have it. It is the one that was given, changed: there may be ten thousand partitions. */
export function toView(view) {
  for (const node of view.nodes) {
    node.capacityBytes = toBigInt(node.capacityBytes);
    node.usedBytes = toBigInt(node.usedBytes);
  }
  for (const { load } of view.partitions) load.bytes = toBigInt(load.bytes);
  return view;
}

/** An author's plan, checked. */
export function toPlan(plan) {
  return toArray(plan, "the answer of scheduler.plan").map((each) => {
    const { keyspace, id, replicas, reason } = toObject(each, "a placement");
    if (typeof reason !== "string") throw new TypeError(`placement.reason must be a string, not ${describe(reason)}`);
    return {
      keyspace: toWhole(keyspace, "placement.keyspace"),
      id: toWhole(id, "placement.id"),
      replicas: toArray(replicas, "placement.replicas").map((node) => toWhole(node, "a node of placement.replicas")),
      reason: reason.toWellFormed(),
    };
  });
}
