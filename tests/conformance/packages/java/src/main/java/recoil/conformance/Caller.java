package recoil.conformance;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import recoil.sdk.Answer;
import recoil.sdk.Entry;
import recoil.sdk.Mode;
import recoil.sdk.PartitionInfo;
import recoil.sdk.Pending;
import recoil.sdk.RoutedCall;
import recoil.sdk.Router;

/** What only a listener can do: calling partitions, and asking where they are. */
final class Caller {
    private Caller() {
    }

    /** Runs a command that needs no connection. {@code peer} is the client. */
    static List<byte[]> run(Router router, String peer, String command, Arguments arguments) throws Refusal {
        List<byte[]> answer = Anywhere.run(router.storage(), command, arguments);
        if (answer != null) {
            return answer;
        }
        switch (command) {
            case "call": {
                Mode mode = mode(arguments);
                return Wire.decode(router.call(RoutedCall.toOwner(arguments.bytes(), arguments.bytes(), mode)));
            }
            case "call-partition": {
                Mode mode = mode(arguments);
                return Wire.decode(router.call(RoutedCall.toPartition(arguments.count(), arguments.bytes(), mode)));
            }
            case "call-many":
                return answers(router.callMany(calls(mode(arguments), arguments)));
            case "submit": {
                List<Pending> pending = new ArrayList<>();
                for (RoutedCall call : calls(mode(arguments), arguments)) {
                    pending.add(router.submit(call));
                }
                return answers(router.awaitAll(pending));
            }
            case "leave": {
                int count = arguments.count();
                RoutedCall call = RoutedCall.write(arguments.bytes(), arguments.bytes());
                for (int i = 0; i < count; i++) {
                    router.submit(call);
                }
                return List.of();
            }
            case "transact":
                return router.transact(calls(Mode.WRITE, arguments));
            case "scatter": {
                Mode mode = mode(arguments);
                return answers(router.scatter(arguments.bytes(), mode));
            }
            case "locate":
                return place(router.locate(arguments.bytes()));
            case "partitions":
                return Wire.texts(router.partitions().size());
            case "peer":
                return Wire.texts(peer);
            default:
                throw Refusal.invalid("there is no command '" + command + "' here");
        }
    }

    private static Mode mode(Arguments arguments) throws Refusal {
        String name = arguments.text();
        return switch (name) {
            case "write" -> Mode.WRITE;
            case "read" -> Mode.READ;
            case "stale-read" -> Mode.STALE_READ;
            default -> throw Refusal.invalid("'" + name + "' is no mode");
        };
    }

    private static List<RoutedCall> calls(Mode mode, Arguments arguments) throws Refusal {
        List<RoutedCall> calls = new ArrayList<>();
        for (Entry pair : arguments.pairs()) {
            calls.add(RoutedCall.toOwner(pair.key(), pair.value(), mode));
        }
        return calls;
    }

    private static List<byte[]> answers(List<Answer> answers) {
        return answers.stream().map(Wire::answer).toList();
    }

    private static List<byte[]> place(PartitionInfo partition) {
        byte[] leader = partition.leader() == null ? null : Wire.utf8(partition.leader().toString());
        String replicas = partition.replicas().stream().map(Object::toString).collect(Collectors.joining(","));
        return List.of(Wire.utf8(Integer.toString(partition.id())), Wire.option(leader), Wire.utf8(replicas),
                Wire.utf8(Long.toString(partition.epoch())));
    }
}
