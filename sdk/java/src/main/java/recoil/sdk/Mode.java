package recoil.sdk;

/** What a call to a partition may do. */
public enum Mode {
    /** May write. Answered once its writes are committed on a quorum. */
    WRITE,
    /** Linearizable: sees every write answered before the call was made. Never touches the log. */
    READ,
    /** May be answered by any replica from what it has applied: old, but a state that once was. */
    STALE_READ
}
