package app;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import recoil.sdk.HttpRequest;
import recoil.sdk.HttpResponse;
import recoil.sdk.fake.FakeCluster;
import recoil.sdk.fake.FakeSettings;

class GreeterTest {
    private final Greeter greeter = new Greeter();
    private final FakeCluster cluster = new FakeCluster(greeter, 8, 3); // 8 partitions in 3 groups, in memory

    private String get(String path) {
        HttpResponse response = greeter.respond(HttpRequest.of("GET", path), cluster);
        return response.status() + " " + new String(response.body(), StandardCharsets.UTF_8);
    }

    @Test
    void eachNameHasACountOfItsOwn() {
        assertEquals("200 hello world, greeting number 1\n", get("/hello/world"));
        assertEquals("200 hello world, greeting number 2\n", get("/hello/world"));
        assertEquals("200 hello moon, greeting number 1\n", get("/hello/moon"));
        FakeSettings.set("greeting", "hi");
        assertEquals("200 hi moon, greeting number 2\n", get("/hello/moon"));
        assertEquals("404 try /hello/NAME\n", get("/elsewhere"));
    }
}
