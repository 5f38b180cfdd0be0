package app;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import recoil.sdk.Handler;
import recoil.sdk.HttpHandler;
import recoil.sdk.HttpRequest;
import recoil.sdk.HttpResponse;
import recoil.sdk.RoutedCall;
import recoil.sdk.Router;
import recoil.sdk.Settings;
import recoil.sdk.Transaction;

/** Greets whoever asks: {@code GET /hello/NAME} counts the greetings of each name. */
public final class Greeter implements Handler, HttpHandler {
    /** Runs on the leader of the name's partition. Every request is a transaction. */
    @Override
    public byte[] handle(Transaction transaction, byte[] name) {
        byte[] value = transaction.get(name);
        long greeted = value == null ? 1 : ByteBuffer.wrap(value).getLong() + 1;
        transaction.put(name, ByteBuffer.allocate(Long.BYTES).putLong(greeted).array());
        return Long.toString(greeted).getBytes(StandardCharsets.UTF_8);
    }

    /** Runs on the node that the client has found, and asks partitions through the router. */
    @Override
    public HttpResponse respond(HttpRequest request, Router router) {
        List<String> segments = request.segments();
        if (!request.method().equals("GET") || segments.size() != 2 || !segments.get(0).equals("hello")) {
            return HttpResponse.text(404, "try /hello/NAME\n");
        }
        String name = segments.get(1);
        byte[] key = name.getBytes(StandardCharsets.UTF_8);
        String count = new String(router.call(RoutedCall.write(key, key)), StandardCharsets.UTF_8);
        String greeting = Settings.text("greeting");
        return HttpResponse.text(200, (greeting == null ? "hello" : greeting) + " " + name + ", greeting number " + count + "\n");
    }
}
