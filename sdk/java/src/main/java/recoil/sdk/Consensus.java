package recoil.sdk;

import java.util.List;
import recoil.sdk.internal.Host;

/**
 * The Raft group behind a partition, for handlers that want more than transactions. These are the contract's functions as they
 * are: a handler that uses them is tested on a cluster.
 */
public final class Consensus {
    /** What a replica is in its group. */
    public enum Role {
        /** Proposes and answers. */
        LEADER,
        /** Votes and follows. */
        FOLLOWER,
        /** Follows without a vote. */
        LEARNER
    }

    /**
     * What a replica knows of its group. Nodes are named by their member number, a small counter.
     *
     * @param leader null during an election
     * @param committed index of the last entry known to be on a quorum
     * @param applied index of the last entry that this replica has applied
     */
    public record GroupStatus(
            long group, Role role, long term, Integer leader, long committed, long applied, List<Integer> voters) {
    }

    private Consensus() {
    }

    /** What this replica knows of its group. Handlers only: it ends a listener's instance. */
    public static GroupStatus status() {
        return Host.status();
    }

    /**
     * Confirms with a quorum that this replica leads and has applied everything committed before the call; answers the applied
     * index. {@link RecoilException.Kind#UNAVAILABLE} if the leadership or the quorum was lost. Handlers only.
     */
    public static long barrier() {
        return Host.barrier();
    }
}
