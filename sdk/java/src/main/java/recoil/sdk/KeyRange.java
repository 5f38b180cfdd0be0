package recoil.sdk;

import java.util.Arrays;
import java.util.Objects;

/**
 * Keys from {@code start}, which is included, to {@code end}, which is not.
 *
 * @param start the first key; empty for the beginning
 * @param end the first key behind the range, null for an open one; at or before {@code start} the range is empty
 */
public record KeyRange(byte[] start, byte[] end) {
    private static final KeyRange ALL = new KeyRange(new byte[0], null);

    public KeyRange {
        Objects.requireNonNull(start, "start");
    }

    /** Every key. */
    public static KeyRange all() {
        return ALL;
    }

    /** Every key that begins with {@code prefix}. */
    public static KeyRange prefix(byte[] prefix) {
        return new KeyRange(prefix, prefixEnd(prefix));
    }

    /** The first key behind all that begin with {@code prefix}; null if there is none. */
    private static byte[] prefixEnd(byte[] prefix) {
        for (int last = prefix.length - 1; last >= 0; last--) {
            if (prefix[last] != -1) {
                byte[] end = Arrays.copyOf(prefix, last + 1);
                end[last]++;
                return end;
            }
        }
        return null;
    }
}
