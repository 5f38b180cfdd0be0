package recoil.sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class HttpRequestTest {
    @Test
    void pathsAndQueriesAreTakenApartAndDecoded() {
        HttpRequest request = HttpRequest.of("GET", "/a%2Fb//c%20d/%zz%4?name=J%C3%B6rg+X&empty&name=other");
        assertEquals(List.of("a/b", "c d", "%zz%4"), request.segments());
        assertEquals("Jörg X", request.queryValue("name"));
        assertEquals("", request.queryValue("empty"));
        assertNull(request.queryValue("absent"));
        assertEquals(List.of(), HttpRequest.of("GET", "/").segments());
    }

    @Test
    void whatIsNotUtf8IsNotReadAsText() {
        HttpRequest request = HttpRequest.of("GET", "/a/%FF?name=%ed%a0%80");
        assertThrows(MalformedRequestException.class, request::segments);
        assertThrows(MalformedRequestException.class, () -> request.queryValue("name"));
        HttpHeader header = new HttpHeader("a", new byte[] {'a', -1});
        assertEquals("the header a is not UTF-8", assertThrows(MalformedRequestException.class, header::text).getMessage());
        assertEquals(List.of("\ufffd", "\ufeffa"), HttpRequest.of("GET", "/%EF%BF%BD/%EF%BB%BFa").segments());
    }

    @Test
    void headersAreFoundInAnyCase() {
        HttpRequest request = HttpRequest.of("PUT", "/").withHeader("X-Trace", "7");
        assertEquals("7", request.header("x-TRACE"));
        assertNull(request.header("absent"));
    }
}
