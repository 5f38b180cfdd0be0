package recoil.sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

/** A scheduler is tested as an author would: with views made by hand. */
class SchedulerTest {
    /** Leaves partitions where they are, but for those without replicas: they go to the nodes with the most room in their zone. */
    private static final class Roomiest implements Scheduler {
        @Override
        public List<Placement> plan(View view) {
            return view.partitions().stream().filter(partition -> partition.replicas().isEmpty())
                    .map(partition -> place(partition, rule(view, partition.keyspace()), view.nodes())).toList();
        }

        private static Rule rule(View view, int keyspace) {
            return view.rules().stream().filter(rule -> rule.keyspace() == keyspace).findFirst()
                    .orElseThrow(() -> new RecoilException("no rule for keyspace " + keyspace));
        }

        private static Placement place(Partition partition, Rule rule, List<Node> nodes) {
            List<Integer> replicas = nodes.stream()
                    .filter(node -> node.state() == NodeState.LIVE && node.locality().containsAll(rule.required()))
                    .sorted((a, b) -> Long.compareUnsigned(b.capacityBytes() - b.usedBytes(), a.capacityBytes() - a.usedBytes()))
                    .limit(rule.replication()).map(Node::id).toList();
            return new Placement(partition.keyspace(), partition.id(), replicas, "the most room");
        }
    }

    private static final Scheduler.Load IDLE = new Scheduler.Load(0, 0, 0, 0);

    private static Scheduler.Node node(int id, Scheduler.NodeState state, String zone, long usedBytes) {
        return new Scheduler.Node(id, state, List.of(new Scheduler.Label("zone", zone)), -1, usedBytes, 0.5f);
    }

    private static Scheduler.View view(int keyspace, List<Integer> replicas) {
        List<Scheduler.Node> nodes = List.of(node(1, Scheduler.NodeState.LIVE, "a", 20), node(2, Scheduler.NodeState.DOWN, "a", 0),
                node(3, Scheduler.NodeState.LIVE, "b", 0), node(4, Scheduler.NodeState.LIVE, "a", 10));
        Scheduler.Rule rule = new Scheduler.Rule(7, 2, List.of(new Scheduler.Label("zone", "a")), List.of(), List.of());
        return new Scheduler.View(nodes, List.of(rule), List.of(new Scheduler.Partition(keyspace, 5, replicas, IDLE)));
    }

    @Test
    void aPlanIsAFunctionOfItsView() throws Exception {
        Scheduler scheduler = new Roomiest();
        assertEquals(List.of(new Scheduler.Placement(7, 5, List.of(4, 1), "the most room")), scheduler.plan(view(7, List.of())));
        assertEquals(List.of(), scheduler.plan(view(7, List.of(1, 2))));
        assertEquals("no rule for keyspace 8",
                assertThrows(RecoilException.class, () -> scheduler.plan(view(8, List.of()))).reason());
    }
}
