package recoil.conformance;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import recoil.sdk.Consensus;
import recoil.sdk.PartitionPlace;
import recoil.sdk.RecoilException;
import recoil.sdk.Transaction;

/**
 * What only a handler can do: its partition, time, timers, messages, its Raft group; and the ways in which a call can go wrong.
 */
final class Owner {
    private static final List<byte[]> NOTHING = List.of();

    private Owner() {
    }

    static List<byte[]> run(Transaction transaction, String command, Arguments arguments) throws Refusal {
        switch (command) {
            case "current":
                PartitionPlace place = transaction.place();
                return Wire.texts(place.keyspace(), place.id(), place.count(), place.epoch());
            case "now":
                return Wire.texts(transaction.now());
            case "is-read-only":
                return Wire.texts(transaction.isReadOnly());
            case "set-timer":
                byte[] id = arguments.bytes();
                long at = transaction.now() + arguments.number(1L << 52);
                transaction.setTimer(id, at, arguments.bytes());
                return NOTHING;
            case "cancel-timer":
                transaction.cancelTimer(arguments.bytes());
                return NOTHING;
            case "publish":
                transaction.publish(arguments.bytes(), arguments.bytes());
                return NOTHING;
            case "status":
                Consensus.GroupStatus status = Consensus.status();
                return Wire.texts(status.role().name().toLowerCase(Locale.ROOT), status.term(), status.committed(),
                        status.applied(), status.voters().size());
            case "barrier":
                try {
                    return Wire.texts(Consensus.barrier());
                } catch (RecoilException lost) {
                    throw Refusal.of(lost);
                }
            case "put-and-fail":
                transaction.put(arguments.bytes(), arguments.bytes());
                throw new RecoilException(arguments.text());
            case "put-and-throw":
                transaction.put(arguments.bytes(), arguments.bytes());
                throw new IllegalStateException(arguments.text());
            case "trap":
                System.exit(1);
                return NOTHING;
            case "loop":
                loop();
                return NOTHING;
            case "bomb":
                for (List<byte[]> taken = new ArrayList<>(); ; ) {
                    taken.add(new byte[1 << 20]);
                }
            case "recurse":
                return Wire.texts(recurse(0));
            default:
                throw Refusal.invalid("there is no command '" + command + "' here");
        }
    }

    /** Seen from outside, so that the loop that counts it is not taken away. */
    static volatile long counter;

    /** Never ends. */
    static void loop() {
        for (long i = 0; ; i++) {
            counter = i;
        }
    }

    private static long recurse(long depth) {
        counter = depth;
        return recurse(depth + 1) + 1;
    }
}
