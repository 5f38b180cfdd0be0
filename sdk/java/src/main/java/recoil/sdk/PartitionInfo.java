package recoil.sdk;

import java.util.List;

/**
 * A partition and where it is. Nodes are named by their member number, a small counter.
 *
 * @param leader null during an election
 */
public record PartitionInfo(int id, Integer leader, List<Integer> replicas, long epoch) {
}
