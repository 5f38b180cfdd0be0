package recoil.sdk;

import java.nio.charset.StandardCharsets;

/** A header of a request or a response. The value's bytes need not be text. */
public record HttpHeader(String name, byte[] value) {
    /** A header whose value is text. */
    public static HttpHeader of(String name, String value) {
        return new HttpHeader(name, value.getBytes(StandardCharsets.UTF_8));
    }

    /** The value as text. */
    public String text() {
        return new String(value, StandardCharsets.UTF_8);
    }
}
