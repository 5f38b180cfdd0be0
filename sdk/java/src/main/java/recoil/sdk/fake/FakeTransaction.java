package recoil.sdk.fake;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import recoil.sdk.Entry;
import recoil.sdk.KeyRange;
import recoil.sdk.PartitionPlace;
import recoil.sdk.RecoilException;
import recoil.sdk.Transaction;

/** A call in progress on a {@link FakePartition}. */
final class FakeTransaction implements Transaction {
    private static final int KEY_BYTES_MAX = 65_514;
    private static final int VALUE_BYTES_MAX = 8 << 20;
    private static final int WRITES_BYTES_MAX = 16 << 20;

    private final FakePartition partition;
    private final boolean readOnly;
    private final NavigableMap<byte[], FakePartition.SetTimer> timersBefore;
    /** Rows as they were, the latest change last; an absent one has no value. */
    private final List<Entry> undo = new ArrayList<>();
    private final List<FakePartition.Published> published = new ArrayList<>();
    private long bytes;

    FakeTransaction(FakePartition partition, boolean readOnly) {
        this.partition = partition;
        this.readOnly = readOnly;
        this.timersBefore = new TreeMap<>(partition.timers());
    }

    /** Keeps what was done, or takes it back. */
    void end(boolean commit) {
        if (commit) {
            partition.published().addAll(published);
            return;
        }
        Collections.reverse(undo);
        for (Entry row : undo) {
            if (row.value() == null) {
                partition.rows().remove(row.key());
            } else {
                partition.rows().put(row.key(), row.value());
            }
        }
        partition.timers().clear();
        partition.timers().putAll(timersBefore);
    }

    /** What committing publishes. */
    List<FakePartition.Published> messages() {
        return published;
    }

    @Override
    public byte[] get(byte[] key) {
        byte[] value = partition.rows().get(key);
        return value == null ? null : value.clone();
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
        checkSize("the key", key.length, KEY_BYTES_MAX);
        checkSize("the value", value.length, VALUE_BYTES_MAX);
        write(key.length + value.length);
        set(key.clone(), value.clone());
    }

    @Override
    public void putMany(List<Entry> entries) {
        for (Entry entry : entries) {
            put(entry.key(), entry.value());
        }
    }

    @Override
    public void remove(byte[] key) {
        write(key.length);
        set(key.clone(), null);
    }

    @Override
    public void removeRange(KeyRange within) {
        write(within.start().length);
        for (byte[] key : List.copyOf(rows(within).keySet())) {
            set(key, null);
        }
    }

    @Override
    public List<Entry> scan(KeyRange within, int limit, boolean reverse) {
        NavigableMap<byte[], byte[]> rows = rows(within);
        List<Entry> entries = new ArrayList<>();
        for (Map.Entry<byte[], byte[]> row : (reverse ? rows.descendingMap() : rows).entrySet()) {
            if (entries.size() == Math.min(limit, partition.pageEntries())) {
                break;
            }
            entries.add(new Entry(row.getKey().clone(), row.getValue().clone()));
        }
        return entries;
    }

    @Override
    public PartitionPlace place() {
        return partition.place();
    }

    @Override
    public long now() {
        return partition.now();
    }

    @Override
    public boolean isReadOnly() {
        return readOnly;
    }

    @Override
    public void setTimer(byte[] id, long at, byte[] payload) {
        requireWriting("setTimer");
        partition.timers().put(id.clone(), new FakePartition.SetTimer(at, payload.clone()));
    }

    @Override
    public void cancelTimer(byte[] id) {
        requireWriting("cancelTimer");
        partition.timers().remove(id);
    }

    @Override
    public void publish(byte[] topic, byte[] message) {
        published.add(new FakePartition.Published(topic.clone(), message.clone()));
    }

    private void requireWriting(String method) {
        if (readOnly) {
            throw new IllegalStateException(method + " in a read-only call ends the instance");
        }
    }

    private static void checkSize(String what, int size, int limit) {
        if (size > limit) {
            throw new RecoilException(RecoilException.Kind.TOO_LARGE, what + " has " + size + " bytes: the limit is " + limit);
        }
    }

    private void write(int size) {
        if (readOnly) {
            throw new RecoilException(RecoilException.Kind.READ_ONLY, "");
        }
        if (bytes + size > WRITES_BYTES_MAX) {
            throw new RecoilException(RecoilException.Kind.TOO_LARGE,
                    "the writes come to " + (bytes + size) + " bytes: the limit is " + WRITES_BYTES_MAX);
        }
        bytes += size;
    }

    private void set(byte[] key, byte[] value) {
        byte[] before = value == null ? partition.rows().remove(key) : partition.rows().put(key, value);
        undo.add(new Entry(key, before));
    }

    private NavigableMap<byte[], byte[]> rows(KeyRange within) {
        if (within.end() == null) {
            return partition.rows().tailMap(within.start(), true);
        }
        if (Arrays.compareUnsigned(within.start(), within.end()) >= 0) {
            return Collections.emptyNavigableMap();
        }
        return partition.rows().subMap(within.start(), true, within.end(), false);
    }
}
