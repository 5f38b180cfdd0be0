package recoil.sdk;

/**
 * Messages of one topic, from the moment of subscribing until this is closed or the instance ends. A subscriber more than 1,024
 * messages behind loses some.
 */
public interface Subscription extends AutoCloseable {
    /** The next message; null when {@code timeoutMillis} have passed without one. */
    byte[] next(int timeoutMillis);

    /** Ends the subscription. */
    @Override
    void close();
}
