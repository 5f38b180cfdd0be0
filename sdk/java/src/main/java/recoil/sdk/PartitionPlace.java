package recoil.sdk;

/**
 * Which partition a handler works on.
 *
 * @param count the number of partitions in the keyspace
 * @param epoch grows when the partition moves
 */
public record PartitionPlace(String keyspace, int id, int count, long epoch) {
}
