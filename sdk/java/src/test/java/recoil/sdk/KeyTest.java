package recoil.sdk;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class KeyTest {
    private static final byte[][] STRINGS = {{}, {0}, {0, 0}, {0, -1}, {1}, {'a'}, {'a', 0}, {'a', 'b'}, {-1}};
    private static final long[] NUMBERS = {Long.MIN_VALUE, -5, -1, 0, 1, 255, 256, Long.MAX_VALUE};

    @Test
    void keysSortAsTheirPartsAndComeApartAgain() {
        byte[] before = null;
        for (byte[] string : STRINGS) {
            for (long number : NUMBERS) {
                byte[] key = Key.of('T').bytes(string).number(number).toBytes();
                assertTrue(before == null || Arrays.compareUnsigned(before, key) < 0);
                before = key;
                Key.Reader parts = Key.read(key);
                assertEquals('T', parts.kind());
                assertArrayEquals(string, parts.bytes());
                assertEquals(number, parts.number());
                assertTrue(parts.isAtEnd());
            }
        }
    }

    @Test
    void whatIsNoKeyIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> Key.read(new byte[0]).kind());
        assertThrows(IllegalArgumentException.class, () -> Key.read(new byte[] {'a', 0, 7}).bytes());
        assertThrows(IllegalArgumentException.class, () -> Key.read(new byte[] {'a'}).bytes());
        assertThrows(IllegalArgumentException.class, () -> Key.read(new byte[] {1, 2, 3}).number());
    }
}
