package recoil.sdk;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A header of a request or a response. The value's bytes need not be text. */
public record HttpHeader(String name, byte[] value) {
    /** A header whose value is text. */
    public static HttpHeader of(String name, String value) {
        return new HttpHeader(name, value.getBytes(StandardCharsets.UTF_8));
    }

    /** The value as text; {@link MalformedRequestException} if it is not UTF-8. */
    public String text() {
        return exactText(value, "the header " + name);
    }

    /** Bytes of a request as text. With U+FFFD in the place of what is not UTF-8, two keys could become one. */
    static String exactText(byte[] bytes, String what) {
        String text = new String(bytes, StandardCharsets.UTF_8);
        if (!Arrays.equals(text.getBytes(StandardCharsets.UTF_8), bytes)) {
            throw new MalformedRequestException(what + " is not UTF-8");
        }
        return text;
    }
}
