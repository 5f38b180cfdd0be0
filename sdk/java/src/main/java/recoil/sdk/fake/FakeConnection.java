package recoil.sdk.fake;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import recoil.sdk.Connection;
import recoil.sdk.Subscription;

/**
 * A client that has already said everything it will say: its input is given beforehand, chunk by chunk, and its output is kept. Behind
 * the last chunk the stream ends.
 */
public final class FakeConnection implements Connection {
    private final Deque<byte[]> input = new ArrayDeque<>();
    private final ByteArrayOutputStream output = new ByteArrayOutputStream();
    private int writes;

    /** A client that sends {@code chunks}, each of which one read returns if its limit allows. */
    public FakeConnection(byte[]... chunks) {
        for (byte[] chunk : chunks) {
            if (chunk.length > 0) {
                input.add(chunk);
            }
        }
    }

    /** The same, of texts. */
    public static FakeConnection of(String... chunks) {
        return new FakeConnection(Arrays.stream(chunks).map(chunk -> chunk.getBytes(StandardCharsets.UTF_8)).toArray(byte[][]::new));
    }

    /** Everything written so far. */
    public byte[] output() {
        return output.toByteArray();
    }

    /** Everything written so far, as text. */
    public String text() {
        return output.toString(StandardCharsets.UTF_8);
    }

    /** How often something was written. */
    public int writes() {
        return writes;
    }

    @Override
    public String peerAddress() {
        return "127.0.0.1:50312";
    }

    @Override
    public byte[] read(int limit) {
        byte[] chunk = input.poll();
        if (chunk == null) {
            return new byte[0];
        }
        if (chunk.length > limit) {
            input.addFirst(Arrays.copyOfRange(chunk, limit, chunk.length));
            return Arrays.copyOf(chunk, limit);
        }
        return chunk;
    }

    @Override
    public void write(byte[] data) {
        output.writeBytes(data);
        writes++;
    }

    @Override
    public Event waitAny(List<? extends Subscription> subscriptions, int timeoutMillis) {
        for (int i = 0; i < subscriptions.size(); i++) {
            if (((FakeCluster.FakeSubscription) subscriptions.get(i)).hasMessage()) {
                return new Message(i);
            }
        }
        return new Readable();
    }
}
