package recoil.sdk;

/** One request's transaction on one partition. Every effect of it happens when the request succeeds, or none does. */
public interface Transaction extends Storage {
    /** Which partition this is. */
    PartitionPlace place();

    /**
     * Microseconds since the Unix epoch: the same throughout the call, and greater than that of every earlier writing transaction
     * of this partition.
     */
    long now();

    /** True when the caller asked for a read; writes then fail with {@link RecoilException.Kind#READ_ONLY}. */
    boolean isReadOnly();

    /**
     * Has {@link Timer#fire} called with {@code payload}, not before {@code at} (microseconds since the Unix epoch). The same
     * {@code id} replaces. Only in writing transactions of a package that is a {@link Timer}: otherwise it ends the instance.
     */
    void setTimer(byte[] id, long at, byte[] payload);

    /** Cancels a timer; cancelling an absent one is not an error. Only in writing transactions. */
    void cancelTimer(byte[] id);

    /** Sends {@code message} to every subscriber of {@code topic} once this transaction has committed, at most once. */
    void publish(byte[] topic, byte[] message);
}
