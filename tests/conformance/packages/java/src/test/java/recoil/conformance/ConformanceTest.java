package recoil.conformance;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import recoil.sdk.HttpRequest;
import recoil.sdk.RecoilException;
import recoil.sdk.Scheduler.Label;
import recoil.sdk.Scheduler.Load;
import recoil.sdk.Scheduler.Node;
import recoil.sdk.Scheduler.NodeState;
import recoil.sdk.Scheduler.Partition;
import recoil.sdk.Scheduler.Placement;
import recoil.sdk.Scheduler.View;
import recoil.sdk.fake.FakeCluster;
import recoil.sdk.fake.FakeConnection;

/** What all languages must do is the suite's business; this is what an author looks at first. */
class ConformanceTest {
    private final Conformance app = new Conformance();
    private final FakeCluster cluster = new FakeCluster(app, 8, 3);

    private static byte[] list(String... items) {
        return Wire.encode(Arrays.stream(items).map(item -> item.getBytes(UTF_8)).toList());
    }

    /** A request that the handler of the key's partition shall run. */
    private static byte[] call(String... request) {
        return Wire.encode(List.of("call".getBytes(UTF_8), "write".getBytes(UTF_8), "k".getBytes(UTF_8), list(request)));
    }

    private static byte[] ok(String... items) {
        byte[] list = list(items);
        return ByteBuffer.allocate(list.length + 1).put((byte) 0).put(list).array();
    }

    private static byte[] frames(byte[]... bodies) {
        ByteArrayOutputStream frames = new ByteArrayOutputStream();
        for (byte[] body : bodies) {
            frames.writeBytes(ByteBuffer.allocate(4).putInt(body.length).array());
            frames.writeBytes(body);
        }
        return frames.toByteArray();
    }

    @Test
    void framesMayComeInAnyPieces() throws Exception {
        byte[] input = frames(call("put", "a", "1"), call("bump", "a", "2"), call("get", "a"));
        byte[] output = frames(ok(), ok("+1"), ok("2"));
        for (int size : new int[] {1, 3, input.length}) {
            byte[][] pieces = new byte[(input.length + size - 1) / size][];
            for (int i = 0; i < pieces.length; i++) {
                pieces[i] = Arrays.copyOfRange(input, i * size, Math.min(input.length, (i + 1) * size));
            }
            FakeConnection connection = new FakeConnection(pieces);
            app.serve(connection, new FakeCluster(app, 8, 3));
            assertArrayEquals(output, connection.output());
        }
        FakeConnection tooLong = new FakeConnection(new byte[] {-1, -1, -1, -1});
        assertEquals("a frame of 4294967295 bytes: at most 16777216 are taken",
                assertThrows(RecoilException.class, () -> app.serve(tooLong, cluster)).reason());
    }

    private List<String> ask(byte[] request) throws Exception {
        byte[] answer = app.respond(HttpRequest.of("POST", "/call").withBody(request), cluster).body();
        return Wire.decode(Arrays.copyOfRange(answer, 1, answer.length)).stream().map(item -> new String(item, UTF_8)).toList();
    }

    @Test
    void whatIsWrongIsSaidAndNothingIsWritten() throws Exception {
        assertEquals(List.of("rejected", "no"), ask(call("put-and-fail", "a", "1", "no")));
        assertEquals(List.of("rejected", "invalid: too few arguments"), ask(call("put", "a")));
        assertEquals(List.of("rejected", "invalid: there is no command 'locate' here"), ask(call("locate", "a")));
        assertEquals("invalid", ask(new byte[3]).get(0));
        assertEquals("invalid", ask(list("subscribe", "topic")).get(0));
        assertEquals(List.of(), ask(call("get", "a")));
    }

    @Test
    void aCommandGetsWhatAnotherHasPut() throws Exception {
        assertEquals("", app.run(List.of("key", "put", "größe", "7"), cluster));
        assertEquals("7", app.run(List.of("key", "get", "größe"), cluster));
        assertEquals("[größe][][a b]", app.run(List.of("echo", "größe", "", "a b"), cluster));
        assertEquals("no such key", assertThrows(RecoilException.class, () -> app.run(List.of("key", "get", "absent"), cluster)).reason());
        assertEquals("no", assertThrows(RecoilException.class, () -> app.run(List.of("fail", "no"), cluster)).reason());
        for (List<String> typed : List.of(List.<String>of(), List.of("key"), List.of("key", "put", "k"))) {
            assertEquals("no such command", assertThrows(RecoilException.class, () -> app.run(typed, cluster)).reason());
        }
    }

    @Test
    void aPlanHasLiveReplicasFirstAndTellsWhatItWasShown() {
        Node down = new Node(1, NodeState.DOWN, List.of(new Label("zone", "a")), -1, 5, 0.5f);
        Node live = new Node(2, NodeState.LIVE, List.of(), 0, 0, 0);
        Load load = new Load(1.5f, 0, 0, 7);
        View view = new View(List.of(down, live), List.of(), List.of(new Partition(3, 4, List.of(1, 2), load),
                new Partition(3, 5, List.of(2, 1), load)));
        assertEquals(List.of(new Placement(3, 4, List.of(2, 1),
                "node 1 down zone=a 5/18446744073709551615 500; rule none; load 1500 0 0 7")), app.plan(view));
        assertEquals("no nodes", assertThrows(RecoilException.class, () -> app.plan(new View(List.of(), List.of(), List.of()))).reason());
    }
}
