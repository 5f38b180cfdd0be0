// What a scheduler is shown, and what it answers. Deliberately absent: classes; both are plain objects, as a test writes them down.

import { describe, toArray, toObject, toWhole } from "./values.js";

/**
 * The view as authors have it. It is the one that was given, changed: there may be ten thousand partitions. StarlingMonkey hands out a
 * BigInt where QuickJS does a number, which holds what the contract allows: less than 2^53.
 */
export function toView(view) {
  for (const node of view.nodes) {
    node.capacityBytes = BigInt(node.capacityBytes);
    node.usedBytes = BigInt(node.usedBytes);
  }
  for (const { load } of view.partitions) load.bytes = BigInt(load.bytes);
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
