package recoil.sdk;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * An answer.
 *
 * @param status 200 to 599
 * @param headers the length and whatever belongs to the connection are the host's and left out
 */
public record HttpResponse(int status, List<HttpHeader> headers, byte[] body) {
    /** An answer without a body. */
    public static HttpResponse of(int status) {
        return new HttpResponse(status, List.of(), new byte[0]);
    }

    /** An answer in plain text. */
    public static HttpResponse text(int status, String text) {
        return of(status).withBody("text/plain; charset=utf-8", text.getBytes(StandardCharsets.UTF_8));
    }

    /** An answer in JSON, which {@code json} is already. */
    public static HttpResponse json(int status, String json) {
        return of(status).withBody("application/json", json.getBytes(StandardCharsets.UTF_8));
    }

    /** The same with another body. */
    public HttpResponse withBody(String contentType, byte[] body) {
        return new HttpResponse(status, headers, body).withHeader("content-type", contentType);
    }

    /** The same with one more header. */
    public HttpResponse withHeader(String name, String value) {
        return withHeader(HttpHeader.of(name, value));
    }

    /** The same with one more header, whose value need not be text. */
    public HttpResponse withHeader(HttpHeader header) {
        List<HttpHeader> more = new ArrayList<>(headers);
        more.add(header);
        return new HttpResponse(status, more, body);
    }
}
