package recoil.sdk;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * A request, read to its end.
 *
 * @param method {@code GET}, say
 * @param path from the first slash up to the question mark, as sent: percent-encoding is not undone
 * @param query behind the question mark, without it, as sent
 * @param headers lower-case names and values, in the order sent
 * @param peerAddress the client, as {@code address:port}
 */
public record HttpRequest(String method, String path, String query, List<HttpHeader> headers, byte[] body, String peerAddress) {
    /** A request without headers and body, as a test makes it. What follows a question mark in {@code target} is the query. */
    public static HttpRequest of(String method, String target) {
        int mark = target.indexOf('?');
        String path = mark < 0 ? target : target.substring(0, mark);
        String query = mark < 0 ? "" : target.substring(mark + 1);
        return new HttpRequest(method, path, query, List.of(), new byte[0], "127.0.0.1:50312");
    }

    /** The same with another body. */
    public HttpRequest withBody(byte[] body) {
        return new HttpRequest(method, path, query, headers, body, peerAddress);
    }

    /** The same with one more header. */
    public HttpRequest withHeader(String name, String value) {
        List<HttpHeader> more = new ArrayList<>(headers);
        more.add(HttpHeader.of(name.toLowerCase(Locale.ROOT), value));
        return new HttpRequest(method, path, query, more, body, peerAddress);
    }

    /**
     * The value of the first header of that name, in any case; null if there is none, {@link MalformedRequestException} if it is not UTF-8.
     */
    public String header(String name) {
        for (HttpHeader header : headers) {
            if (header.name().equalsIgnoreCase(name)) {
                return header.text();
            }
        }
        return null;
    }

    /**
     * The parts of the path between slashes, percent-encoding undone. An encoded slash stays inside its part.
     * {@link MalformedRequestException} if one is not UTF-8.
     */
    public List<String> segments() {
        List<String> segments = new ArrayList<>();
        for (String part : parts(path, '/')) {
            if (!part.isEmpty()) {
                segments.add(decode(part, "the path", false));
            }
        }
        return segments;
    }

    /**
     * The first value of that name in the query, percent-encoding and plus signs undone; empty without a value, null if absent.
     * {@link MalformedRequestException} if the query is not UTF-8 up to there.
     */
    public String queryValue(String name) {
        for (String pair : parts(query, '&')) {
            int equals = pair.indexOf('=');
            if (decode(equals < 0 ? pair : pair.substring(0, equals), "the query", true).equals(name)) {
                return equals < 0 ? "" : decode(pair.substring(equals + 1), "the query", true);
            }
        }
        return null;
    }

    /** As {@link String#split} does, which would bring regular expressions into every package. */
    private static List<String> parts(String text, char separator) {
        List<String> parts = new ArrayList<>();
        int start = 0;
        for (int end = text.indexOf(separator); end >= 0; end = text.indexOf(separator, start)) {
            parts.add(text.substring(start, end));
            start = end + 1;
        }
        parts.add(text.substring(start));
        return parts;
    }

    /** Undoes percent-encoding (RFC 3986, section 2.1); what is not encoded properly stays as it is. */
    private static String decode(String text, String what, boolean plusIsSpace) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        int length = 0;
        for (int at = 0; at < bytes.length; at++) {
            byte value = bytes[at];
            if (value == '%' && at + 2 < bytes.length && digit(bytes[at + 1]) >= 0 && digit(bytes[at + 2]) >= 0) {
                value = (byte) (digit(bytes[at + 1]) * 16 + digit(bytes[at + 2]));
                at += 2;
            } else if (value == '+' && plusIsSpace) {
                value = ' ';
            }
            bytes[length++] = value;
        }
        return HttpHeader.exactText(Arrays.copyOf(bytes, length), what);
    }

    private static int digit(byte character) {
        return Character.digit((char) (character & 0xff), 16);
    }
}
