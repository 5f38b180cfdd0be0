package recoil.sdk.fake;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.Function;
import recoil.sdk.Handler;
import recoil.sdk.PartitionPlace;
import recoil.sdk.RecoilException;
import recoil.sdk.Timer;
import recoil.sdk.Transaction;

/**
 * A partition in memory, with everything that a transaction can do to it in plain sight: storage, time, timers, messages, rollback,
 * read-only calls and the contract's limits.
 *
 * <p>Where the contract leaves a choice to the host, this takes the one that is harder for the package, such as short pages. It has
 * neither memory limits nor deadlines.
 */
public final class FakePartition {
    private static final long START = 1_750_000_000_000_000L;
    private static final long RETRY_MICROS = 1_000_000;

    /** A timer that is set: when, in microseconds since the Unix epoch, and with which payload. */
    public record SetTimer(long at, byte[] payload) {
    }

    /** A message that was published. */
    public record Published(byte[] topic, byte[] message) {
    }

    private final PartitionPlace place;
    private final NavigableMap<byte[], byte[]> rows = new TreeMap<>(Arrays::compareUnsigned);
    private final NavigableMap<byte[], SetTimer> timers = new TreeMap<>(Arrays::compareUnsigned);
    private final List<Published> published = new ArrayList<>();
    private long now = START;
    private int pageEntries = 100;

    /** An empty partition, the only one of its keyspace, at a time in 2025. */
    public FakePartition() {
        this(0, 1);
    }

    /** An empty partition that is {@code id} of {@code count}. */
    public FakePartition(int id, int count) {
        place = new PartitionPlace("default", id, count, 1);
    }

    /** Answers a request that may write, in a transaction of its own. What is thrown has changed nothing. */
    public byte[] write(Handler handler, byte[] request) {
        return inTransaction(transaction -> rejecting(() -> handler.handle(transaction, request)));
    }

    /** Answers a request that may only read. */
    public byte[] read(Handler handler, byte[] request) {
        return rejecting(() -> handler.handle(new FakeTransaction(this, true), request));
    }

    /** A transaction that may only read, for a test that looks into the partition. */
    public Transaction view() {
        return new FakeTransaction(this, true);
    }

    /**
     * Lets time pass, and fires what comes due, in the order of time; answers how many timers fired. A timer that fails stays, due a
     * second later.
     */
    public int advance(Timer timer, long microseconds) {
        long until = now + microseconds;
        int fired = 0;
        for (byte[] id = due(until); id != null; id = due(until)) {
            byte[] current = id;
            SetTimer set = timers.get(id);
            now = Math.max(now, set.at());
            try {
                inTransaction(transaction -> rejecting(() -> {
                    transaction.cancelTimer(current);
                    timer.fire(transaction, current, set.payload());
                    return null;
                }));
            } catch (RecoilException failure) {
                timers.put(id, new SetTimer(now + RETRY_MICROS, set.payload()));
            }
            fired++;
        }
        now = Math.max(now, until);
        return fired;
    }

    private byte[] due(long until) {
        byte[] first = null;
        for (Map.Entry<byte[], SetTimer> timer : timers.entrySet()) {
            long at = timer.getValue().at();
            if (at <= until && (first == null || at < timers.get(first).at())) {
                first = timer.getKey();
            }
        }
        return first;
    }

    /** Every row, in key order; a test may change them. */
    public NavigableMap<byte[], byte[]> rows() {
        return rows;
    }

    /** The timers that are set, by their ids. */
    public NavigableMap<byte[], SetTimer> timers() {
        return timers;
    }

    /** Everything published so far, in commit order. */
    public List<Published> published() {
        return published;
    }

    /** The time of the last transaction, microseconds since the Unix epoch; each writing one is at least a microsecond later. */
    public long now() {
        return now;
    }

    /** The most entries that a page of a scan has from now on, whatever is asked for. */
    public void setPageEntries(int entries) {
        pageEntries = entries;
    }

    int pageEntries() {
        return pageEntries;
    }

    PartitionPlace place() {
        return place;
    }

    FakeTransaction begin() {
        now++;
        return new FakeTransaction(this, false);
    }

    <T> T inTransaction(Function<Transaction, T> body) {
        FakeTransaction transaction = begin();
        boolean committed = false;
        try {
            T result = body.apply(transaction);
            committed = true;
            return result;
        } finally {
            transaction.end(committed);
        }
    }

    /** What a caller sees of what a handler throws. */
    static <T> T rejecting(Callable<T> call) {
        try {
            return call.call();
        } catch (RecoilException refusal) {
            throw new RecoilException(refusal.getMessage());
        } catch (Exception mistake) {
            RecoilException rejected = new RecoilException(mistake.toString());
            rejected.initCause(mistake);
            throw rejected;
        }
    }
}
