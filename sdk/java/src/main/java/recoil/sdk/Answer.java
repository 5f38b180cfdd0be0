package recoil.sdk;

import java.util.Objects;

/** How one of many calls ended: with a value, or with an exception of its own. */
public final class Answer {
    private final byte[] value;
    private final RecoilException error;

    private Answer(byte[] value, RecoilException error) {
        this.value = value;
        this.error = error;
    }

    /** A call that was answered. */
    public static Answer of(byte[] value) {
        return new Answer(Objects.requireNonNull(value, "value"), null);
    }

    /** A call that failed. */
    public static Answer of(RecoilException error) {
        return new Answer(null, Objects.requireNonNull(error, "error"));
    }

    /** True when there is a value. */
    public boolean isOk() {
        return error == null;
    }

    /** The value; throws the exception if there is none. */
    public byte[] get() {
        if (error != null) {
            throw error;
        }
        return value;
    }

    /** The exception; null if there is a value. */
    public RecoilException error() {
        return error;
    }
}
