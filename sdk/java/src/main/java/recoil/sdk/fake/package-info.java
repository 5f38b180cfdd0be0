/**
 * The host, in memory: what a package runs on in its tests, on a JVM.
 *
 * <p>{@link recoil.sdk.fake.FakePartition} is one partition, {@link recoil.sdk.fake.FakeCluster} a router to several,
 * {@link recoil.sdk.fake.FakeConnection} a client that has already said everything it will say. Where the contract leaves a choice to
 * the host, the fakes take the one that is harder for the package; where it promises something, they keep it.
 */
package recoil.sdk.fake;
