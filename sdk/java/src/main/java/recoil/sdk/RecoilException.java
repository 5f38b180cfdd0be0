package recoil.sdk;

import java.util.Objects;

/**
 * What the host, a partition or a client's connection refused, or what a handler refuses.
 *
 * <p>{@link #kind} says what has happened and whether a retry can help, {@link #reason} why, in the words of whoever refused.
 */
public class RecoilException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What has happened. */
    public enum Kind {
        /** A key, a value or all writes of a transaction are above the limit that the reason names. A retry does not help. */
        TOO_LARGE("too large"),
        /** A write in a call that may only read: route it with {@link Mode#WRITE}. */
        READ_ONLY("a write in a read-only call: route it with Mode.WRITE"),
        /** The app is over its storage quota. A retry helps once data has been removed. */
        QUOTA_EXCEEDED("over the storage quota"),
        /** No leader or quorum before the deadline. Nothing was written, except that a listener's write to storage may have been. */
        UNAVAILABLE("the partition is unavailable"),
        /** The handler refused. Nothing was written; a retry helps only if the handler says so. */
        REJECTED("rejected"),
        /** The handler or the connection failed, or the handler ran out of time or memory. Nothing was written. */
        FAILED("failed"),
        /** The leader was lost after the request was sent. A retry may apply the request twice. */
        UNKNOWN_OUTCOME("the outcome is unknown"),
        /** A transaction lost to a conflicting one. Nothing was written: retry. */
        CONFLICT("the transaction lost to a conflicting one: retry it"),
        /** The client closed the connection. */
        CLOSED("the connection is closed"),
        /** The client sent or took nothing for the app's idle limit. */
        TIMED_OUT("the client was idle for too long");

        private final String words;

        Kind(String words) {
            this.words = words;
        }
    }

    private final Kind kind;
    private final String reason;

    /** A refusal: what a handler throws to refuse a request, with the reason its caller is told. */
    public RecoilException(String reason) {
        this(Kind.REJECTED, reason);
    }

    /**
     * A failure of some kind.
     *
     * @param reason why, in words for the caller; empty if there is nothing to add to the kind
     */
    public RecoilException(Kind kind, String reason) {
        super(message(kind, Objects.requireNonNull(reason, "reason")));
        this.kind = kind;
        this.reason = reason;
    }

    private static String message(Kind kind, String reason) {
        if (reason.isEmpty() && kind != Kind.REJECTED) {
            return kind.words;
        }
        return switch (kind) {
            case FAILED, UNKNOWN_OUTCOME, UNAVAILABLE -> kind.words + ": " + reason;
            default -> reason;
        };
    }

    /** What has happened. */
    public Kind kind() {
        return kind;
    }

    /** Why, in the words of whoever refused; empty if the kind says it all. */
    public String reason() {
        return reason;
    }
}
