package recoil.conformance;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import recoil.sdk.Answer;
import recoil.sdk.RecoilException;

/**
 * Lists, which requests and answers are made of.
 *
 * <pre>
 * item   = length (u32, big endian), bytes
 * list   = item*
 * answer = status (u8), list
 * </pre>
 */
final class Wire {
    private static final int LENGTH_BYTES = 4;
    private static final byte OK = 0;
    private static final byte ERROR = 1;

    /** What a command does. */
    interface Command {
        List<byte[]> run() throws Refusal;
    }

    private Wire() {
    }

    static byte[] encode(List<byte[]> items) {
        return encode(new byte[0], items);
    }

    static List<byte[]> decode(byte[] list) throws Refusal {
        ByteBuffer buffer = ByteBuffer.wrap(list);
        List<byte[]> items = new ArrayList<>();
        for (int at = 0; at < list.length; ) {
            if (list.length - at < LENGTH_BYTES) {
                throw Refusal.invalid("a length of fewer than 4 bytes");
            }
            int length = buffer.getInt(at);
            at += LENGTH_BYTES;
            if (length < 0 || length > list.length - at) {
                throw Refusal.invalid("an item that ends early");
            }
            items.add(Arrays.copyOfRange(list, at, at + length));
            at += length;
        }
        return items;
    }

    /** The answer that a command comes to. */
    static byte[] answer(Command command) {
        try {
            return encode(new byte[] {OK}, command.run());
        } catch (Refusal refusal) {
            return refused(refusal);
        } catch (RecoilException exception) {
            return refused(Refusal.of(exception));
        }
    }

    /** What a call of a handler came to, as one item: its own answer, or why there is none. */
    static byte[] answer(Answer answer) {
        if (!answer.isOk()) {
            return refused(Refusal.of(answer.error()));
        }
        byte[] list = answer.get();
        byte[] bytes = new byte[list.length + 1];
        bytes[0] = OK;
        System.arraycopy(list, 0, bytes, 1, list.length);
        return bytes;
    }

    /** An option: empty for none, else {@code +} and the value. */
    static byte[] option(byte[] value) {
        if (value == null) {
            return new byte[0];
        }
        byte[] option = new byte[value.length + 1];
        option[0] = '+';
        System.arraycopy(value, 0, option, 1, value.length);
        return option;
    }

    static List<byte[]> texts(Object... values) {
        return Arrays.stream(values).map(value -> utf8(value.toString())).toList();
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] refused(Refusal refusal) {
        return encode(new byte[] {ERROR}, texts(refusal.kind(), refusal.getMessage()));
    }

    private static byte[] encode(byte[] status, List<byte[]> items) {
        int length = status.length;
        for (byte[] item : items) {
            length += LENGTH_BYTES + item.length;
        }
        byte[] bytes = Arrays.copyOf(status, length);
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        int at = status.length;
        for (byte[] item : items) {
            buffer.putInt(at, item.length);
            System.arraycopy(item, 0, bytes, at + LENGTH_BYTES, item.length);
            at += LENGTH_BYTES + item.length;
        }
        return bytes;
    }
}
