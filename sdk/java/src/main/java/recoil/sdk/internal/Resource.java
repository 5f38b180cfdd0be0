package recoil.sdk.internal;

/** A handle that the host gave to this instance. Using it after it is gone would end the instance: it throws before that. */
abstract class Resource implements AutoCloseable {
    private final int handle;
    private boolean gone;

    Resource(int handle) {
        this.handle = handle;
    }

    /** The handle, to be lent. */
    final int handle() {
        if (gone) {
            throw new IllegalStateException("it has been closed or waited for already");
        }
        return handle;
    }

    /** The handle, to be given away. */
    final int take() {
        int taken = handle();
        gone = true;
        return taken;
    }

    final boolean isGone() {
        return gone;
    }

    @Override
    public void close() {
        if (!gone) {
            drop(take());
        }
    }

    abstract void drop(int handle);
}
