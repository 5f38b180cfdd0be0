package recoil.sdk;

import java.io.InputStream;
import java.util.Objects;

/** A client's bytes as a stream: one chunk of the host's at a time. */
final class ConnectionInputStream extends InputStream {
    private static final int CHUNK_BYTES = 65_536;

    private final Connection connection;
    private byte[] chunk = new byte[0];
    private int next;
    private boolean ended;

    ConnectionInputStream(Connection connection) {
        this.connection = connection;
    }

    @Override
    public int read() {
        return fill() ? chunk[next++] & 0xff : -1;
    }

    @Override
    public int read(byte[] into, int offset, int length) {
        Objects.checkFromIndexSize(offset, length, into.length);
        if (length == 0) {
            return 0;
        }
        if (!fill()) {
            return -1;
        }
        int count = Math.min(length, chunk.length - next);
        System.arraycopy(chunk, next, into, offset, count);
        next += count;
        return count;
    }

    @Override
    public int available() {
        return chunk.length - next;
    }

    private boolean fill() {
        if (next == chunk.length && !ended) {
            chunk = connection.read(CHUNK_BYTES);
            next = 0;
            ended = chunk.length == 0;
        }
        return next < chunk.length;
    }
}
