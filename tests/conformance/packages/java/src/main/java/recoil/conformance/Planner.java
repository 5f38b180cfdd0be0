package recoil.conformance;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import recoil.sdk.RecoilException;
import recoil.sdk.Scheduler.Label;
import recoil.sdk.Scheduler.Load;
import recoil.sdk.Scheduler.Node;
import recoil.sdk.Scheduler.NodeState;
import recoil.sdk.Scheduler.Partition;
import recoil.sdk.Scheduler.Placement;
import recoil.sdk.Scheduler.Rule;
import recoil.sdk.Scheduler.View;

/** Plans that tell what the scheduler was shown: live replicas first, and all that a view says in the reasons. */
final class Planner {
    /** A rule with this replication is an order to go wrong: its keyspace says how. */
    private static final int ORDER = 255;
    private static final int REPLICATION_DEFAULT = 3;

    private final Map<Integer, Node> nodes = new HashMap<>();
    private final Map<Integer, Rule> rules = new HashMap<>();
    private final List<Integer> live;

    private Planner(View view) {
        view.nodes().forEach(node -> nodes.putIfAbsent(node.id(), node));
        view.rules().forEach(rule -> rules.putIfAbsent(rule.keyspace(), rule));
        live = view.nodes().stream().filter(node -> node.state() == NodeState.LIVE).map(Node::id).toList();
    }

    static List<Placement> plan(View view) {
        if (view.nodes().isEmpty()) {
            throw new RecoilException("no nodes");
        }
        view.rules().stream().filter(rule -> rule.replication() == ORDER).forEach(rule -> goWrong(rule.keyspace()));
        Planner planner = new Planner(view);
        List<Placement> plan = new ArrayList<>();
        for (Partition partition : view.partitions()) {
            List<Integer> wanted = planner.wanted(partition);
            if (partition.replicas().isEmpty() || !wanted.equals(partition.replicas())) {
                plan.add(new Placement(partition.keyspace(), partition.id(), wanted, planner.reason(partition, wanted)));
            }
        }
        return plan;
    }

    private static void goWrong(int how) {
        switch (how) {
            case 1 -> throw new IllegalStateException("thrown while planning");
            case 2 -> Owner.loop();
            default -> throw new RecoilException("there is no order " + how);
        }
    }

    private List<Integer> wanted(Partition partition) {
        List<Integer> wanted = new ArrayList<>();
        if (partition.replicas().isEmpty()) {
            Rule rule = rules.get(partition.keyspace());
            int replication = Math.min(rule == null ? REPLICATION_DEFAULT : rule.replication(), live.size());
            for (int i = 0; i < replication; i++) {
                wanted.add(live.get((partition.id() % live.size() + i) % live.size()));
            }
            return wanted;
        }
        List<Integer> behind = new ArrayList<>();
        for (int replica : partition.replicas()) {
            Node node = nodes.get(replica);
            (node != null && node.state() == NodeState.LIVE ? wanted : behind).add(replica);
        }
        wanted.addAll(behind);
        return wanted;
    }

    private String reason(Partition partition, List<Integer> wanted) {
        List<Integer> replicas = partition.replicas().isEmpty() ? wanted : partition.replicas();
        return node(replicas) + "; " + rule(rules.get(partition.keyspace())) + "; " + load(partition.load());
    }

    private String node(List<Integer> replicas) {
        if (replicas.isEmpty()) {
            return "node none";
        }
        Node node = nodes.get(replicas.get(0));
        if (node == null) {
            return "node " + replicas.get(0) + " unknown";
        }
        return "node " + node.id() + " " + node.state().name().toLowerCase(Locale.ROOT) + " " + labels(node.locality()) + " "
                + Long.toUnsignedString(node.usedBytes()) + "/" + Long.toUnsignedString(node.capacityBytes()) + " "
                + thousandths(node.cpuLoad());
    }

    private static String rule(Rule rule) {
        return rule == null ? "rule none" : "rule " + rule.replication() + " " + labels(rule.required()) + " " + joined(rule.spreadBy())
                + " " + labels(rule.leaderPreference());
    }

    private static String load(Load load) {
        return "load " + thousandths(load.readsPerSecond()) + " " + thousandths(load.writesPerSecond()) + " "
                + thousandths(load.cpuSecondsPerSecond()) + " " + Long.toUnsignedString(load.bytes());
    }

    private static String labels(List<Label> labels) {
        return joined(labels.stream().map(label -> label.key() + "=" + label.value()).toList());
    }

    private static String joined(List<String> texts) {
        return texts.isEmpty() ? "-" : String.join(",", texts);
    }

    private static long thousandths(float value) {
        return (long) (value * 1000.0);
    }
}
