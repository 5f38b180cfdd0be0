package recoil.sdk;

/**
 * Owns data. There is one instance for each partition, on the partition's leader; requests are answered one at a time.
 */
public interface Handler {
    /**
     * Answers one request inside one transaction.
     *
     * <p>An exception rolls back everything this call did and reaches the caller as {@link RecoilException.Kind#REJECTED}. The
     * text of a {@link RecoilException} reaches it as it is, so that is what refuses a request; any other exception is a mistake,
     * whose class is told too, and whose stack goes to the package's log. Running out of time, memory or stack rolls back as well,
     * replaces the instance and reaches the caller as {@link RecoilException.Kind#FAILED}.
     *
     * <p>The call may be evaluated again if its writes could not be committed, so it must have no effects but those on
     * {@code transaction}. What it keeps in memory between calls is a cache only, and must survive the rollback of the call that
     * filled it.
     */
    byte[] handle(Transaction transaction, byte[] request) throws Exception;
}
