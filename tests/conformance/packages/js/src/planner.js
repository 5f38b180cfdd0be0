// A scheduler that puts live replicas first, and whose reasons tell all that the view says.

import { RecoilError } from "#recoil";

/** A rule with this replication is an order to go wrong: its keyspace says how. */
const REPLICATION_ORDER = 255;
const REPLICATION_DEFAULT = 3;

export const scheduler = {
  plan({ nodes, rules, partitions }) {
    if (nodes.length === 0) throw new RecoilError("no nodes");
    const order = rules.find(({ replication }) => replication === REPLICATION_ORDER);
    if (order !== undefined) goWrong(order.keyspace);
    const planner = {
      nodes: new Map(nodes.map((node) => [node.id, node])),
      rules: new Map(rules.toReversed().map((rule) => [rule.keyspace, rule])), // the first of a keyspace stays
      live: nodes.filter(({ state }) => state === "live").map(({ id }) => id),
    };
    return partitions.flatMap((partition) => place(partition, planner));
  },
};

function goWrong(how) {
  if (how === 1) throw new Error("thrown while planning");
  if (how === 2) for (;;);
  throw new RecoilError(`there is no order ${how}`);
}

/** Nothing if it is where it should be. */
function place(partition, { nodes, rules, live }) {
  const { keyspace, id, replicas: now, load } = partition;
  const rule = rules.get(keyspace);
  const isLive = (node) => nodes.get(node)?.state === "live";
  const replicas = now.length === 0
    ? Array.from({ length: Math.min(rule?.replication ?? REPLICATION_DEFAULT, live.length) }, (_, at) => live[(id + at) % live.length])
    : [...now.filter(isLive), ...now.filter((node) => !isLive(node))];
  if (now.length > 0 && replicas.every((node, at) => node === now[at])) return [];
  const [first] = now.length > 0 ? now : replicas;
  const reason = `${shownNode(first, nodes.get(first))}; ${shownRule(rule)}; ${shownLoad(load)}`;
  return [{ keyspace, id, replicas, reason }];
}

function shownNode(id, node) {
  if (node === undefined) return `node ${id} unknown`;
  const { state, locality, usedBytes, capacityBytes, cpuLoad } = node;
  return `node ${id} ${state} ${labels(locality)} ${usedBytes}/${capacityBytes} ${thousandths(cpuLoad)}`;
}

function shownRule(rule) {
  if (rule === undefined) return "rule none";
  const { replication, required, spreadBy, leaderPreference } = rule;
  return `rule ${replication} ${labels(required)} ${joined(spreadBy)} ${labels(leaderPreference)}`;
}

function shownLoad({ readsPerSecond, writesPerSecond, cpuSecondsPerSecond, bytes }) {
  const rates = [readsPerSecond, writesPerSecond, cpuSecondsPerSecond].map(thousandths);
  return `load ${rates.join(" ")} ${bytes}`;
}

const labels = (pairs) => joined(pairs.map(([key, value]) => `${key}=${value}`));
const joined = (texts) => (texts.length === 0 ? "-" : texts.join(","));
const thousandths = (value) => Math.trunc(value * 1000);
