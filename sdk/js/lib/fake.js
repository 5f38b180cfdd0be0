// The host, in memory: what a package's logic runs on in native tests. Documented in fake.d.ts.
//
// Invariant: where the contract leaves a choice to the host, the fakes take the one that is harder for the package (short
// pages, refused transactions); where it promises something, they keep it. Deliberately absent: components, memory limits and
// deadlines.

export { FakeCluster } from "./fake/cluster.js";
export { FakeConnection } from "./fake/connection.js";
export { FakePartition } from "./fake/partition.js";
export { setSetting } from "./native.js";
