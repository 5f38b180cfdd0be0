package recoil.sdk;

import java.util.List;

/**
 * Decides where partitions live: the host asks it in the place of its own scheduler.
 *
 * <p>A plan is a function of the view and of nothing else, so that a test makes a {@link View} and looks at what comes back. Every plan
 * has an instance of its own and the limits of a handler's call; of the host, only {@link Log} and {@link Settings} are there.
 *
 * <p>Java has no unsigned numbers. Numbers of bytes are the contract's {@code u64} as {@code long}: {@link Long#toUnsignedString} prints
 * and {@link Long#compareUnsigned} compares what may be above 2<sup>63</sup>. All other whole numbers are small.
 */
public interface Scheduler {
    /**
     * Where partitions should be: only those that should change, the most urgent first.
     *
     * <p>The host checks every answer (nodes, quorum, placement rules). It goes on with its own scheduler, and its log says why, when a
     * plan is refused, comes too late, or when this throws: the text of a {@link RecoilException} is told as it is, of any other
     * exception also the class.
     */
    List<Placement> plan(View view) throws Exception;

    /** What a node is to the cluster. */
    enum NodeState {
        /** It serves. */
        LIVE,
        /** It serves, and gives up what it has. */
        DRAINING,
        /** It does not answer. */
        DOWN
    }

    /** A key and its value: where a node is, as {@code zone} and {@code a}, or where a replica must be. */
    record Label(String key, String value) {
    }

    /**
     * A node.
     *
     * @param id its member number, a small counter
     * @param locality where it stands
     * @param capacityBytes what it can hold, unsigned
     * @param usedBytes what it holds, unsigned
     * @param cpuLoad processors at work
     */
    record Node(int id, NodeState state, List<Label> locality, long capacityBytes, long usedBytes, float cpuLoad) {
    }

    /**
     * What a partition costs.
     *
     * @param cpuSecondsPerSecond processors at work for it
     * @param bytes what it holds, unsigned
     */
    record Load(float readsPerSecond, float writesPerSecond, float cpuSecondsPerSecond, long bytes) {
    }

    /**
     * A partition and where it is now.
     *
     * @param replicas node numbers, the preferred leader's first; empty if it is nowhere yet
     */
    record Partition(int keyspace, int id, List<Integer> replicas, Load load) {
    }

    /**
     * What holds for a keyspace.
     *
     * @param replication replicas of each partition
     * @param required labels that every replica's node must have
     * @param spreadBy keys of labels of which no two replicas of a partition should have the same value
     * @param leaderPreference labels that the leader's node should have, if one can
     */
    record Rule(int keyspace, int replication, List<Label> required, List<String> spreadBy, List<Label> leaderPreference) {
    }

    /** All that a plan is made of. */
    record View(List<Node> nodes, List<Rule> rules, List<Partition> partitions) {
    }

    /**
     * Where a partition should be.
     *
     * @param replicas node numbers, the preferred leader's first
     * @param reason why, for operators
     */
    record Placement(int keyspace, int id, List<Integer> replicas, String reason) {
    }
}
