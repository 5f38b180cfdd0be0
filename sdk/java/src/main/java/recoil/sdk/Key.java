package recoil.sdk;

import java.io.ByteArrayOutputStream;
import java.util.Arrays;

/**
 * A key made of parts, whose byte order is the order of its parts, so that a scan returns keys sorted: numbers are big-endian, and a
 * byte string of any content is escaped so that a shorter one sorts before a longer one and no part can be mistaken for the next.
 *
 * <pre>{@code
 * byte[] key = Key.of('T').bytes(name).number(7).toBytes();
 * Key.Reader parts = Key.read(key);
 * assert parts.kind() == 'T' && Arrays.equals(parts.bytes(), name) && parts.number() == 7;
 * }</pre>
 */
public final class Key {
    private static final int ESCAPED_ZERO = 0xff;

    private final ByteArrayOutputStream key = new ByteArrayOutputStream();

    private Key() {
    }

    /** A key of the kind {@code kind}, a character up to 255, which keeps a package's kinds of rows apart. */
    public static Key of(char kind) {
        Key key = new Key();
        key.key.write(kind);
        return key;
    }

    /** Appends a byte string: zeros become {@code 00 ff}, and {@code 00 00} ends it. */
    public Key bytes(byte[] part) {
        for (byte value : part) {
            key.write(value);
            if (value == 0) {
                key.write(ESCAPED_ZERO);
            }
        }
        key.write(0);
        key.write(0);
        return this;
    }

    /** Appends a number: negative ones sort first. */
    public Key number(long part) {
        long ordered = part ^ Long.MIN_VALUE;
        for (int shift = 56; shift >= 0; shift -= 8) {
            key.write((int) (ordered >>> shift));
        }
        return this;
    }

    /** The key. */
    public byte[] toBytes() {
        return key.toByteArray();
    }

    /** Takes the parts off a key's front. */
    public static Reader read(byte[] key) {
        return new Reader(key);
    }

    /** The parts of a key, in their order. What is not such a key is an {@link IllegalArgumentException}. */
    public static final class Reader {
        private final byte[] key;
        private int at;

        private Reader(byte[] key) {
            this.key = key;
        }

        /** The kind, which comes first. */
        public char kind() {
            return (char) next();
        }

        /** A byte string. */
        public byte[] bytes() {
            byte[] part = new byte[key.length - at];
            int length = 0;
            while (true) {
                int value = next();
                if (value == 0) {
                    int escape = next();
                    if (escape == 0) {
                        return Arrays.copyOf(part, length);
                    }
                    if (escape != ESCAPED_ZERO) {
                        throw new IllegalArgumentException("byte " + (at - 1) + " of the key: a zero that is neither escaped nor an end");
                    }
                }
                part[length++] = (byte) value;
            }
        }

        /** A number. */
        public long number() {
            long ordered = 0;
            for (int i = 0; i < Long.BYTES; i++) {
                ordered = ordered << 8 | next();
            }
            return ordered ^ Long.MIN_VALUE;
        }

        /** True when every part has been read. */
        public boolean isAtEnd() {
            return at == key.length;
        }

        private int next() {
            if (at == key.length) {
                throw new IllegalArgumentException("the key ends at byte " + at + ", within a part");
            }
            return key[at++] & 0xff;
        }
    }
}
