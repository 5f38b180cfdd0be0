package recoil.sdk;

/**
 * A call under way. Waiting for it uses it up; closing it instead forgets the answer, not the call. One that the package forgets
 * needs neither.
 */
public interface Pending extends AutoCloseable {
    /** True when {@link #await} would not block. */
    boolean isReady();

    /** The answer, once. */
    byte[] await();

    /** Forgets the answer. What has been waited for or closed is left alone. */
    @Override
    void close();
}
