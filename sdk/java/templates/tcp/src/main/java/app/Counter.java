package app;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import recoil.sdk.Connection;
import recoil.sdk.Handler;
import recoil.sdk.Listener;
import recoil.sdk.RecoilException;
import recoil.sdk.RoutedCall;
import recoil.sdk.Router;
import recoil.sdk.Transaction;

/** Counts words: each line it is sent is answered with how often it was sent. */
public final class Counter implements Handler, Listener {
    /** Bytes of a line. */
    private static final int LINE_BYTES_MAX = 64 << 10;

    /** Runs on the leader of the word's partition. Every request is a transaction. */
    @Override
    public byte[] handle(Transaction transaction, byte[] word) {
        byte[] value = transaction.get(word);
        long seen = value == null ? 1 : ByteBuffer.wrap(value).getLong() + 1;
        transaction.put(word, ByteBuffer.allocate(Long.BYTES).putLong(seen).array());
        return Long.toString(seen).getBytes(StandardCharsets.UTF_8);
    }

    /** Runs for each connection, on the node that the client has found; blocks as a thread would. */
    @Override
    public void serve(Connection connection, Router router) throws IOException {
        InputStream input = connection.inputStream();
        for (String line = line(input); line != null; line = line(input)) {
            byte[] word = line.strip().getBytes(StandardCharsets.UTF_8);
            String count = new String(router.call(RoutedCall.write(word, word)), StandardCharsets.UTF_8);
            connection.write((count + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }

    /** The next line, without its end; null if the stream ends before it. */
    private static String line(InputStream input) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int next = input.read(); next != '\n'; next = input.read()) {
            if (next < 0) {
                return null;
            }
            if (line.size() == LINE_BYTES_MAX) {
                throw new RecoilException("a line of more than " + LINE_BYTES_MAX + " bytes");
            }
            line.write(next);
        }
        return line.toString(StandardCharsets.UTF_8);
    }
}
