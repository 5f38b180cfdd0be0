package recoil.sdk;

/** Speaks a network protocol. There is an instance for each open connection. */
public interface Listener {
    /**
     * Serves one connection until it ends: reads, calls partitions, writes, and blocks doing so, as a thread per connection would.
     * When this returns or throws, the connection is closed; what it throws is written to the package's log.
     */
    void serve(Connection connection, Router router) throws Exception;
}
