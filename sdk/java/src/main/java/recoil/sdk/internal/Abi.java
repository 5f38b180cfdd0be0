package recoil.sdk.internal;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.teavm.interop.Address;
import recoil.sdk.RecoilException;

/**
 * Values as the canonical ABI lays them out: a list or a string is a pointer and a length, an option or a result a tag of one byte
 * and the payload at its alignment.
 *
 * <p>What comes from the host is named by the number it gave as a pointer, and looked up by {@link Memory#at} each time: an object
 * made meanwhile may have moved it. What goes there is the Java array itself: the host reads it before any managed code runs again,
 * and without managed code no collection can move it.
 */
final class Abi {
    /** Bytes of a list or a string in memory: pointer and length. */
    static final int LIST = 8;

    private static final byte[] NONE = new byte[0];

    private Abi() {
    }

    static int tag(int at) {
        return Memory.at(at).getByte() & 0xff;
    }

    static int number(int at) {
        return Memory.at(at).getInt();
    }

    static long longNumber(int at) {
        return Memory.at(at).getLong();
    }

    static float floatNumber(int at) {
        return Memory.at(at).getFloat();
    }

    /** The list of bytes at {@code at}. */
    static byte[] bytes(int at) {
        return bytes(number(at), number(at + 4));
    }

    static byte[] bytes(int pointer, int length) {
        if (length == 0) {
            return NONE;
        }
        byte[] bytes = new byte[length];
        Address.moveMemoryBlock(Memory.at(pointer), Address.ofData(bytes), length);
        return bytes;
    }

    /** The string at {@code at}. */
    static String string(int at) {
        return string(number(at), number(at + 4));
    }

    static String string(int pointer, int length) {
        return new String(bytes(pointer, length), StandardCharsets.UTF_8);
    }

    /** The {@code option<list<u8>>} at {@code at}, null for none. */
    static byte[] optionalBytes(int at) {
        return tag(at) == 0 ? null : bytes(at + 4);
    }

    /** The {@code option<u32>} at {@code at}, null for none. */
    static Integer optionalNumber(int at) {
        return tag(at) == 0 ? null : number(at + 4);
    }

    /** The {@code list<u32>} at {@code at}. */
    static List<Integer> numbers(int at) {
        return list(at, Integer.BYTES, Abi::number);
    }

    /** The list at {@code at}, each item of which has {@code itemBytes}. */
    static <T> List<T> list(int at, int itemBytes, IntFunction<T> item) {
        return list(number(at), number(at + 4), itemBytes, item);
    }

    static <T> List<T> list(int pointer, int count, int itemBytes, IntFunction<T> item) {
        List<T> list = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            list.add(item.apply(pointer + itemBytes * i));
        }
        return list;
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Lays down an array as a list of bytes. */
    static void putBytes(Address at, byte[] bytes) {
        at.putAddress(Address.ofData(bytes));
        at.add(4).putInt(bytes.length);
    }

    /** Lays down an array as a {@code list<u32>}. */
    static void putNumbers(Address at, int[] numbers) {
        at.putAddress(Address.ofData(numbers));
        at.add(4).putInt(numbers.length);
    }

    /** A {@code list<list<u8>>} on its way to the host. */
    static Address listOfBytes(List<byte[]> items) {
        // Copied first: what the author's list runs must not run once the arena is in use.
        byte[][] arrays = items.toArray(new byte[0][]);
        Memory.empty();
        Address list = Memory.allocate(LIST * arrays.length);
        for (int i = 0; i < arrays.length; i++) {
            putBytes(list.add(LIST * i), arrays[i]);
        }
        return list;
    }

    /** The exception for the variant with these kinds at {@code at}; the payload of a case, if it has one, is a string. */
    static RecoilException error(RecoilException.Kind[] kinds, int at) {
        RecoilException.Kind kind = kinds[tag(at)];
        return switch (kind) {
            case READ_ONLY, CONFLICT, CLOSED, TIMED_OUT -> new RecoilException(kind, "");
            default -> new RecoilException(kind, string(at + 4));
        };
    }
}
