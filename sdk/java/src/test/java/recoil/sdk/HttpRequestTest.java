package recoil.sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

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
    void headersAreFoundInAnyCase() {
        HttpRequest request = HttpRequest.of("PUT", "/").withHeader("X-Trace", "7");
        assertEquals("7", request.header("x-TRACE"));
        assertNull(request.header("absent"));
    }
}
