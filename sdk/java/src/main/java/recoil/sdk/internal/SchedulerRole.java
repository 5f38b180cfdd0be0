package recoil.sdk.internal;

import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import org.teavm.interop.Address;
import org.teavm.interop.Export;
import recoil.sdk.Scheduler;
import recoil.sdk.Scheduler.Label;
import recoil.sdk.Scheduler.Load;
import recoil.sdk.Scheduler.Node;
import recoil.sdk.Scheduler.NodeState;
import recoil.sdk.Scheduler.Partition;
import recoil.sdk.Scheduler.Placement;
import recoil.sdk.Scheduler.Rule;
import recoil.sdk.Scheduler.View;

/** The export {@code scheduler}. */
public final class SchedulerRole {
    /** Bytes of the contract's records; a label is two strings. */
    private static final int NODE = 40;
    private static final int RULE = 32;
    private static final int PARTITION = 40;
    private static final int LABEL = 2 * Abi.LIST;
    private static final int PLACEMENT = 24;

    private static final NodeState[] STATES = NodeState.values();

    private static Supplier<? extends Scheduler> role;

    private SchedulerRole() {
    }

    public static void export(Supplier<? extends Scheduler> scheduler) {
        role = scheduler;
    }

    @Export(name = "recoil:plugin/scheduler@0.1.0#plan")
    static int plan(int nodes, int nodesCount, int rules, int rulesCount, int partitions, int partitionsCount) {
        try {
            View view = new View(Abi.list(nodes, nodesCount, NODE, SchedulerRole::node),
                    Abi.list(rules, rulesCount, RULE, SchedulerRole::rule),
                    Abi.list(partitions, partitionsCount, PARTITION, SchedulerRole::partition));
            return answer(role.get().plan(view));
        } catch (Throwable cause) {
            return Roles.failed(cause);
        }
    }

    private static Node node(int at) {
        return new Node(Abi.number(at), STATES[Abi.tag(at + 4)], labels(at + 8), Abi.longNumber(at + 16), Abi.longNumber(at + 24),
                Abi.floatNumber(at + 32));
    }

    private static Rule rule(int at) {
        return new Rule(Abi.number(at), Abi.tag(at + 4), labels(at + 8), Abi.list(at + 16, Abi.LIST, Abi::string), labels(at + 24));
    }

    private static Partition partition(int at) {
        Load load = new Load(Abi.floatNumber(at + 16), Abi.floatNumber(at + 20), Abi.floatNumber(at + 24), Abi.longNumber(at + 32));
        return new Partition(Abi.number(at), Abi.number(at + 4), Abi.numbers(at + 8), load);
    }

    private static List<Label> labels(int at) {
        return Abi.list(at, LABEL, label -> new Label(Abi.string(label), Abi.string(label + Abi.LIST)));
    }

    private static int answer(List<Placement> plan) {
        // Everything is made before the arena is used: from there on nothing may be allocated.
        Placement[] placements = Objects.requireNonNull(plan, "plan answered null").toArray(new Placement[0]);
        int[][] replicas = new int[placements.length][];
        byte[][] reasons = new byte[placements.length][];
        for (int i = 0; i < placements.length; i++) {
            replicas[i] = placements[i].replicas().stream().mapToInt(Integer::intValue).toArray();
            reasons[i] = Abi.utf8(placements[i].reason());
        }
        Memory.empty();
        Address list = Memory.allocate(PLACEMENT * placements.length);
        for (int i = 0; i < placements.length; i++) {
            Address placement = list.add(PLACEMENT * i);
            placement.putInt(placements[i].keyspace());
            placement.add(4).putInt(placements[i].id());
            Abi.putNumbers(placement.add(8), replicas[i]);
            Abi.putBytes(placement.add(16), reasons[i]);
        }
        Address result = Memory.returnArea();
        result.putByte((byte) 0);
        result.add(4).putAddress(list);
        result.add(8).putInt(placements.length);
        return Memory.answered();
    }
}
