package recoil.sdk;

import java.io.BufferedOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Arrays;
import java.util.List;

/**
 * A stream of bytes with a client at its other end. What goes wrong is a {@link RecoilException} of the kind
 * {@link RecoilException.Kind#CLOSED}, {@link RecoilException.Kind#TIMED_OUT} or {@link RecoilException.Kind#FAILED}; after any of
 * them the connection is closed.
 */
public interface Connection {
    /** Address and port of the client, as {@code 127.0.0.1:50312} or {@code [::1]:50312}. */
    String peerAddress();

    /** Waits for at least one byte and returns at most {@code limit} (and at most 1 MiB); no bytes at the end of the stream. */
    byte[] read(int limit);

    /**
     * Waits until the host has buffered the bytes, not until they are sent. What is buffered is sent before the next read or
     * {@link #waitAny} waits.
     */
    void write(byte[] data);

    /**
     * Waits for input or for a message, whichever is first; null when {@code timeoutMillis} have passed without either. The end of
     * the stream is readable. A message is only announced, by its place in {@code subscriptions}: {@link Subscription#next} takes
     * it.
     */
    Event waitAny(List<? extends Subscription> subscriptions, int timeoutMillis);

    /** What the client sends, as a stream. It keeps up to 64 KiB that it has read ahead: do not mix it with {@link #read}. */
    default InputStream inputStream() {
        return new ConnectionInputStream(this);
    }

    /** What the client gets, as a stream. It buffers up to 8 KiB: flush it before anything waits for the client. */
    default OutputStream outputStream() {
        return new BufferedOutputStream(new OutputStream() {
            @Override
            public void write(int value) {
                Connection.this.write(new byte[] {(byte) value});
            }

            @Override
            public void write(byte[] data, int offset, int length) {
                Connection.this.write(offset == 0 && length == data.length ? data : Arrays.copyOfRange(data, offset, offset + length));
            }
        });
    }

    /** What {@link #waitAny} waited for. */
    sealed interface Event permits Readable, Message {
    }

    /** The client has sent something, or has ended the stream. */
    record Readable() implements Event {
    }

    /** A message waits, in the subscription at that place. */
    record Message(int subscription) implements Event {
    }
}
