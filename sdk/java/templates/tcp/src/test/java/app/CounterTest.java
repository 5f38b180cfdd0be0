package app;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import recoil.sdk.fake.FakeCluster;
import recoil.sdk.fake.FakeConnection;

class CounterTest {
    @Test
    void wordsAreCountedWhereverTheyLive() throws Exception {
        Counter counter = new Counter();
        FakeCluster cluster = new FakeCluster(counter, 8, 3); // 8 partitions in 3 groups, in memory
        FakeConnection connection = FakeConnection.of("pear\nap", "ple\npear\n");
        counter.serve(connection, cluster);
        assertEquals("1\n1\n2\n", connection.text());
    }
}
