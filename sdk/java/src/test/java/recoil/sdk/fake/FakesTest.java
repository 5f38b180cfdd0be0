package recoil.sdk.fake;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import recoil.sdk.Answer;
import recoil.sdk.Connection;
import recoil.sdk.Entry;
import recoil.sdk.Handler;
import recoil.sdk.KeyRange;
import recoil.sdk.Mode;
import recoil.sdk.RecoilException;
import recoil.sdk.RoutedCall;
import recoil.sdk.Subscription;
import recoil.sdk.Timer;
import recoil.sdk.Transaction;

class FakesTest {
    private static final byte[] ROW = bytes("row");

    /** Writes its request to a row, publishes it and sets a timer; refuses {@code bad}. */
    private static final class Package implements Handler, Timer {
        @Override
        public byte[] handle(Transaction transaction, byte[] request) {
            if (!transaction.isReadOnly()) {
                transaction.put(ROW, request);
                transaction.publish(bytes("topic"), request);
                transaction.setTimer(bytes("timer"), transaction.now() + 10, request);
            }
            switch (text(request)) {
                case "bad":
                    throw new RecoilException("refused");
                case "worse":
                    throw new IllegalStateException("broken");
                default:
                    byte[] row = transaction.get(ROW);
                    return row == null ? new byte[0] : row;
            }
        }

        @Override
        public void fire(Transaction transaction, byte[] id, byte[] payload) {
            transaction.put(id, payload);
            if (text(payload).equals("fails")) {
                throw new RecoilException("not yet");
            }
        }
    }

    private final Package app = new Package();
    private final FakePartition partition = new FakePartition();

    private static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, UTF_8);
    }

    private static RoutedCall to(int partition, String request) {
        return RoutedCall.toPartition(partition, bytes(request), Mode.WRITE);
    }

    @Test
    void anExceptionRollsBackRowsTimersAndMessages() {
        partition.write(app, bytes("good"));
        long now = partition.now();
        assertEquals("refused", assertThrows(RecoilException.class, () -> partition.write(app, bytes("bad"))).reason());
        assertEquals("java.lang.IllegalStateException: broken",
                assertThrows(RecoilException.class, () -> partition.write(app, bytes("worse"))).reason());
        assertTrue(partition.now() > now);
        assertEquals("good", text(partition.rows().get(ROW)));
        assertEquals(1, partition.published().size());
        assertEquals(now + 10, partition.timers().get(bytes("timer")).at());
    }

    @Test
    void aTimerFiresWhenDueAndAgainWhenItFailed() {
        partition.write(app, bytes("good"));
        assertEquals(0, partition.advance(app, 9));
        assertEquals(1, partition.advance(app, 1));
        assertEquals("good", text(partition.rows().get(bytes("timer"))));
        assertTrue(partition.timers().isEmpty());
        partition.write(app, bytes("fails"));
        assertEquals(1, partition.advance(app, 100));
        assertEquals("good", text(partition.rows().get(bytes("timer"))), "a failed timer writes nothing");
        assertEquals(1, partition.timers().size());
    }

    @Test
    void aReadRefusesWritesAndLimitsHold() {
        Handler writes = (transaction, request) -> {
            transaction.put(ROW, request);
            return request;
        };
        assertTrue(assertThrows(RecoilException.class, () -> partition.read(writes, ROW)).reason().contains("read-only"));
        FakeTransaction transaction = partition.begin();
        RecoilException tooLarge = assertThrows(RecoilException.class, () -> transaction.put(ROW, new byte[(8 << 20) + 1]));
        assertEquals(RecoilException.Kind.TOO_LARGE, tooLarge.kind());
        transaction.put(ROW, new byte[8 << 20]);
        assertThrows(RecoilException.class, () -> transaction.put(bytes("other"), new byte[8 << 20]));
        transaction.end(false);
        assertTrue(partition.rows().isEmpty());
    }

    @Test
    void entriesPageThroughEverythingOnceInBothDirections() {
        partition.setPageEntries(7);
        for (int i = 0; i < 5000; i++) {
            partition.rows().put(bytes("%04d".formatted(i)), new byte[0]);
        }
        KeyRange within = new KeyRange(bytes("0010"), bytes("4000"));
        int next = 10;
        for (Entry entry : partition.view().entries(within)) {
            assertEquals("%04d".formatted(next++), text(entry.key()));
        }
        assertEquals(4000, next);
        for (Entry entry : partition.view().entriesReverse(within)) {
            assertEquals("%04d".formatted(--next), text(entry.key()));
        }
        assertEquals(10, next);
        assertArrayEquals(bytes("b"), KeyRange.prefix(new byte[] {'a', -1, -1}).end());
        assertNull(KeyRange.prefix(new byte[] {-1}).end());
    }

    @Test
    void aTransactionIsAllOrNothingAndWithinOneGroup() {
        FakeCluster cluster = new FakeCluster(app, 6, 3);
        Subscription subscription = cluster.subscribe(bytes("topic"));
        assertEquals(2, cluster.transact(List.of(to(1, "a"), to(4, "b"))).size());
        assertThrows(RecoilException.class, () -> cluster.transact(List.of(to(1, "c"), to(4, "bad"))));
        RecoilException spans = assertThrows(RecoilException.class, () -> cluster.transact(List.of(to(1, "c"), to(2, "c"))));
        assertTrue(spans.reason().contains("[1, 2]"));
        assertEquals("a", text(cluster.partition(1).rows().get(ROW)));
        assertEquals("b", text(cluster.partition(4).rows().get(ROW)));
        assertEquals("a", text(subscription.next(0)));
        assertEquals("b", text(subscription.next(0)));
        assertNull(subscription.next(0), "a transaction that was rolled back publishes nothing");
    }

    @Test
    void callsGoToTheirPartitionAndFailByThemselves() {
        FakeCluster cluster = new FakeCluster(app, 4, 2);
        byte[] key = bytes("some key");
        cluster.call(RoutedCall.write(key, bytes("v")));
        int owner = cluster.locate(key).id();
        int other = (owner + 1) % 4;
        cluster.failPartition(other, new RecoilException(RecoilException.Kind.UNAVAILABLE, "gone"));
        List<Answer> answers = cluster.scatter(new byte[0], Mode.READ);
        assertEquals(RecoilException.Kind.UNAVAILABLE, answers.get(other).error().kind());
        assertEquals("v", text(answers.get(owner).get()));
        assertThrows(RecoilException.class, () -> cluster.call(to(4, "")));
        cluster.failPartition(other, null);
        cluster.storage().put(bytes("k"), bytes("1"));
        assertEquals("1", text(cluster.storage().get(bytes("k"))));
        assertEquals(2, cluster.storage().scan(KeyRange.all(), 10, false).size());
    }

    @Test
    void aConnectionIsAlsoStreams() throws Exception {
        FakeConnection connection = FakeConnection.of("one", "two");
        assertEquals("onetwo", text(connection.inputStream().readAllBytes()));
        try (var output = connection.outputStream()) {
            output.write('a');
            output.write(bytes("bc"));
        }
        assertEquals("abc", connection.text());
        assertEquals(1, connection.writes());
        assertTrue(connection.waitAny(List.of(), 0) instanceof Connection.Readable);
    }
}
