package recoil.sdk;

import java.util.List;

/**
 * An ordered space of byte strings that belongs to the installed app.
 *
 * <p>A handler's is its partition's, through {@link Transaction}: reads see every write that the partition accepted before, the
 * transaction's own included. A listener's, through {@link Router#storage}, is that of all partitions, and each call is one routed,
 * linearizable operation on the partition that owns the key.
 *
 * <p>Keys have at most 65,514 bytes, values 8 MiB and the writes of one transaction 16 MiB, unless the app's limits say
 * otherwise; beyond that, {@link RecoilException.Kind#TOO_LARGE}. A key or value that is absent is null.
 */
public interface Storage {
    /** The value of {@code key}; null if there is none. */
    byte[] get(byte[] key);

    /** Values in the order of {@code keys}, null for those that are absent, in one crossing. */
    List<byte[]> getMany(List<byte[]> keys);

    /** Writes one value. */
    void put(byte[] key, byte[] value);

    /** Writes many values in one crossing; a later entry of the same key wins. A listener's is atomic per partition only. */
    void putMany(List<Entry> entries);

    /** Removes one value. Removing an absent key is not an error. */
    void remove(byte[] key);

    /** Removes every key of a range. A listener's is not atomic across partitions. */
    void removeRange(KeyRange within);

    /**
     * At most {@code limit} entries in key order, descending if {@code reverse}. Fewer may come before the range ends (a page has
     * 4 MiB), but at least one if there is one: only an empty page is the end. {@link #entries} pages by itself.
     */
    List<Entry> scan(KeyRange within, int limit, boolean reverse);

    /** The entries of a range in key order, read page by page as the iteration goes on. */
    default Iterable<Entry> entries(KeyRange within) {
        return () -> new Pages(this, within, false);
    }

    /** The entries of a range in descending key order, read page by page as the iteration goes on. */
    default Iterable<Entry> entriesReverse(KeyRange within) {
        return () -> new Pages(this, within, true);
    }
}
