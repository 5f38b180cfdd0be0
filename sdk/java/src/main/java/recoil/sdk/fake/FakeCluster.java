package recoil.sdk.fake;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import recoil.sdk.Answer;
import recoil.sdk.Entry;
import recoil.sdk.Handler;
import recoil.sdk.KeyRange;
import recoil.sdk.Mode;
import recoil.sdk.PartitionInfo;
import recoil.sdk.Pending;
import recoil.sdk.RecoilException;
import recoil.sdk.RoutedCall;
import recoil.sdk.Router;
import recoil.sdk.Storage;
import recoil.sdk.Subscription;
import recoil.sdk.Timer;
import recoil.sdk.Transaction;

/**
 * A router to partitions in memory, in groups: partition {@code p} belongs to group {@code p % groups}, and a transaction over several
 * groups is rejected.
 */
public final class FakeCluster implements Router {
    private final List<FakePartition> partitions = new ArrayList<>();
    private final int groups;
    private final Handler handler;
    private final Map<byte[], List<FakeSubscription>> subscribers = new TreeMap<>(Arrays::compareUnsigned);
    private final Map<Integer, RecoilException> faults = new HashMap<>();
    private long calls;

    /** {@code partitions} partitions in {@code groups} groups, all of {@code handler}; at least one of each. */
    public FakeCluster(Handler handler, int partitions, int groups) {
        if (partitions < 1 || groups < 1) {
            throw new IllegalArgumentException("a cluster has at least one partition and one group");
        }
        for (int id = 0; id < partitions; id++) {
            this.partitions.add(new FakePartition(id, partitions));
        }
        this.groups = groups;
        this.handler = handler;
    }

    /** The id of the partition that owns {@code key}. */
    public int owner(byte[] key) {
        long hash = 0xcbf29ce484222325L; // FNV-1a: a test can rely on it, and a package cannot know it
        for (byte value : key) {
            hash = (hash ^ value & 0xff) * 0x100000001b3L;
        }
        return (int) ((hash >>> 32) % partitions.size());
    }

    /** A partition, to look at or to change. */
    public FakePartition partition(int id) {
        return partitions.get(id);
    }

    /** From now on calls to partition {@code id} fail like this and are not evaluated; null heals. */
    public void failPartition(int id, RecoilException failure) {
        faults.put(id, failure);
    }

    /** Lets time pass on every partition, and fires what comes due; answers how many timers fired. */
    public int advance(Timer timer, long microseconds) {
        return partitions.stream().mapToInt(partition -> partition.advance(timer, microseconds)).sum();
    }

    /** Calls evaluated so far. */
    public long calls() {
        return calls;
    }

    @Override
    public byte[] call(RoutedCall call) {
        FakePartition partition = reach(call);
        calls++;
        if (call.mode() != Mode.WRITE) {
            return partition.read(handler, call.request());
        }
        int before = partition.published().size();
        byte[] answer = partition.write(handler, call.request());
        deliver(partition.published().subList(before, partition.published().size()));
        return answer;
    }

    @Override
    public List<Answer> callMany(List<RoutedCall> calls) {
        return calls.stream().map(this::answer).toList();
    }

    @Override
    public Pending submit(RoutedCall call) {
        return new FakePending(answer(call));
    }

    @Override
    public List<Answer> awaitAll(List<? extends Pending> calls) {
        return calls.stream().map(call -> ((FakePending) call).take()).toList();
    }

    @Override
    public List<byte[]> transact(List<RoutedCall> calls) {
        TreeSet<Integer> ids = new TreeSet<>();
        TreeSet<Integer> spanned = new TreeSet<>();
        for (RoutedCall call : calls) {
            int id = reach(call).place().id();
            ids.add(id);
            spanned.add(id % groups);
        }
        if (spanned.size() > 1) {
            throw new RecoilException("the transaction spans groups " + spanned);
        }
        this.calls += calls.size();
        Map<Integer, FakeTransaction> transactions = new TreeMap<>();
        ids.forEach(id -> transactions.put(id, partitions.get(id).begin()));
        boolean committed = false;
        try {
            List<byte[]> answers = new ArrayList<>();
            for (RoutedCall call : calls) {
                Transaction transaction = transactions.get(place(call));
                answers.add(FakePartition.rejecting(() -> handler.handle(transaction, call.request())));
            }
            committed = true;
            return answers;
        } finally {
            for (FakeTransaction transaction : transactions.values()) {
                transaction.end(committed);
                if (committed) {
                    deliver(transaction.messages());
                }
            }
        }
    }

    @Override
    public List<Answer> scatter(byte[] request, Mode mode) {
        return partitions.stream().map(partition -> answer(RoutedCall.toPartition(partition.place().id(), request, mode))).toList();
    }

    @Override
    public PartitionInfo locate(byte[] key) {
        return info(owner(key));
    }

    @Override
    public List<PartitionInfo> partitions() {
        return partitions.stream().map(partition -> info(partition.place().id())).toList();
    }

    @Override
    public Subscription subscribe(byte[] topic) {
        FakeSubscription subscription = new FakeSubscription();
        subscribers.computeIfAbsent(topic.clone(), absent -> new ArrayList<>()).add(subscription);
        return subscription;
    }

    @Override
    public Storage storage() {
        return new FakeStorage();
    }

    private int place(RoutedCall call) {
        if (call.key() != null) {
            return owner(call.key());
        }
        if (call.partition() < 0 || call.partition() >= partitions.size()) {
            throw new RecoilException("there is no partition " + call.partition() + ": there are " + partitions.size());
        }
        return call.partition();
    }

    private FakePartition reach(RoutedCall call) {
        int id = place(call);
        RecoilException fault = faults.get(id);
        if (fault != null) {
            throw new RecoilException(fault.kind(), fault.reason());
        }
        return partitions.get(id);
    }

    private Answer answer(RoutedCall call) {
        try {
            return Answer.of(call(call));
        } catch (RecoilException failure) {
            return Answer.of(failure);
        }
    }

    private void deliver(List<FakePartition.Published> messages) {
        for (FakePartition.Published message : messages) {
            for (FakeSubscription subscriber : subscribers.getOrDefault(message.topic(), List.of())) {
                subscriber.queue.add(message.message());
            }
        }
    }

    private PartitionInfo info(int id) {
        int member = id % groups + 1;
        return new PartitionInfo(id, member, List.of(member), 1);
    }

    private static final class FakePending implements Pending {
        private Answer answer;

        FakePending(Answer answer) {
            this.answer = answer;
        }

        Answer take() {
            if (answer == null) {
                throw new IllegalStateException("it has been closed or waited for already");
            }
            Answer taken = answer;
            answer = null;
            return taken;
        }

        @Override
        public boolean isReady() {
            return true;
        }

        @Override
        public byte[] await() {
            return take().get();
        }

        @Override
        public void close() {
            answer = null;
        }
    }

    static final class FakeSubscription implements Subscription {
        private final Queue<byte[]> queue = new ArrayDeque<>();

        boolean hasMessage() {
            return !queue.isEmpty();
        }

        @Override
        public byte[] next(int timeoutMillis) {
            return queue.poll();
        }

        @Override
        public void close() {
            queue.clear();
        }
    }

    /** A listener's storage: each operation is a transaction on the partition of its key. */
    private final class FakeStorage implements Storage {
        private <T> T on(byte[] key, Function<Transaction, T> operation) {
            return reach(RoutedCall.write(key, new byte[0])).inTransaction(operation);
        }

        @Override
        public byte[] get(byte[] key) {
            return on(key, transaction -> transaction.get(key));
        }

        @Override
        public List<byte[]> getMany(List<byte[]> keys) {
            List<byte[]> values = new ArrayList<>();
            for (byte[] key : keys) {
                values.add(get(key));
            }
            return values;
        }

        @Override
        public void put(byte[] key, byte[] value) {
            on(key, transaction -> {
                transaction.put(key, value);
                return null;
            });
        }

        @Override
        public void putMany(List<Entry> entries) {
            entries.forEach(entry -> put(entry.key(), entry.value()));
        }

        @Override
        public void remove(byte[] key) {
            on(key, transaction -> {
                transaction.remove(key);
                return null;
            });
        }

        @Override
        public void removeRange(KeyRange within) {
            for (FakePartition partition : partitions) {
                partition.inTransaction(transaction -> {
                    transaction.removeRange(within);
                    return null;
                });
            }
        }

        @Override
        public List<Entry> scan(KeyRange within, int limit, boolean reverse) {
            List<Entry> entries = new ArrayList<>();
            for (FakePartition partition : partitions) {
                (reverse ? partition.view().entriesReverse(within) : partition.view().entries(within)).forEach(entries::add);
            }
            entries.sort((a, b) -> (reverse ? -1 : 1) * Arrays.compareUnsigned(a.key(), b.key()));
            return List.copyOf(entries.subList(0, Math.min(limit, entries.size())));
        }
    }
}
