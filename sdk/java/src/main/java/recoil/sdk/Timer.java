package recoil.sdk;

/** Is told when a timer that a transaction set has come due. */
public interface Timer {
    /**
     * Called at least once, in a transaction that also removes the timer, so that its writes happen exactly once. An exception
     * rolls back and is written to the package's log; the timer fires again after a pause that doubles from 1 s to 1 min.
     */
    void fire(Transaction transaction, byte[] id, byte[] payload) throws Exception;
}
