package recoil.conformance;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import recoil.sdk.Entry;
import recoil.sdk.KeyRange;

/** A request's items, taken one after another. */
final class Arguments {
    private final List<byte[]> items;
    private int next;

    Arguments(byte[] request) throws Refusal {
        items = Wire.decode(request);
    }

    byte[] bytes() throws Refusal {
        if (next == items.size()) {
            throw Refusal.invalid("too few arguments");
        }
        return items.get(next++);
    }

    String text() throws Refusal {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes())).toString();
        } catch (CharacterCodingException malformed) {
            throw Refusal.invalid("a text that is not UTF-8");
        }
    }

    /** A whole number from 0 to {@code limit}. */
    long number(long limit) throws Refusal {
        String text = text();
        try {
            long number = Long.parseLong(text);
            if (number >= 0 && number <= limit) {
                return number;
            }
        } catch (NumberFormatException malformed) {
            // refused below
        }
        throw Refusal.invalid("'" + text + "' is no number from 0 to " + limit);
    }

    int count() throws Refusal {
        return (int) number(Integer.MAX_VALUE);
    }

    boolean truth() throws Refusal {
        String text = text();
        return switch (text) {
            case "true" -> true;
            case "false" -> false;
            default -> throw Refusal.invalid("'" + text + "' is neither true nor false");
        };
    }

    /** The value of an option; null for none. */
    byte[] option() throws Refusal {
        byte[] option = bytes();
        if (option.length == 0) {
            return null;
        }
        if (option[0] != '+') {
            throw Refusal.invalid("an option is empty or begins with +");
        }
        return Arrays.copyOfRange(option, 1, option.length);
    }

    KeyRange range() throws Refusal {
        return new KeyRange(bytes(), option());
    }

    /** All that are left. */
    List<byte[]> rest() {
        List<byte[]> rest = items.subList(next, items.size());
        next = items.size();
        return rest;
    }

    /** All that are left, two by two. */
    List<Entry> pairs() throws Refusal {
        List<Entry> pairs = new ArrayList<>();
        while (next < items.size()) {
            pairs.add(new Entry(bytes(), bytes()));
        }
        return pairs;
    }
}
