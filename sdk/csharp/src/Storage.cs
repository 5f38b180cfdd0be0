#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil
{
    /// <summary>A key and its value. The arrays are not copied.</summary>
    public readonly struct Entry
    {
        /// <summary>A key and its value.</summary>
        public Entry(byte[] key, byte[] value)
        {
            Key = key;
            Value = value;
        }

        /// <summary>The key.</summary>
        public byte[] Key { get; }

        /// <summary>The value.</summary>
        public byte[] Value { get; }

        /// <summary>For <c>foreach (var (key, value) in …)</c>.</summary>
        public void Deconstruct(out byte[] key, out byte[] value)
        {
            key = Key;
            value = Value;
        }
    }

    /// <summary>An ordered space of byte strings that belongs to the installed app.</summary>
    /// <remarks>
    /// A handler's is its partition's, through <see cref="Transaction"/>: reads see every write that the partition accepted before, the
    /// transaction's own included. A listener's, through <see cref="Router.Storage"/>, is that of all partitions, and each call is one
    /// routed, linearizable operation on the partition that owns the key.
    /// <para>
    /// Keys have at most 65,514 bytes, values 8 MiB and the writes of one transaction 16 MiB, unless the app's limits say otherwise; beyond
    /// that, <see cref="ErrorKind.TooLarge"/>. A key or value that is absent is null.
    /// </para>
    /// </remarks>
    public abstract class Storage
    {
        private const int PageEntriesFirst = 32;
        private const int PageEntriesMax = 1024;

        /// <summary>The value of <paramref name="key"/>; null if there is none.</summary>
        public abstract byte[]? Get(ReadOnlySpan<byte> key);

        /// <summary>Values in the order of <paramref name="keys"/>, null for those that are absent, in one crossing.</summary>
        public abstract IReadOnlyList<byte[]?> GetMany(IReadOnlyList<byte[]> keys);

        /// <summary>Writes one value.</summary>
        public abstract void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value);

        /// <summary>
        /// Writes many values in one crossing; a later entry of the same key wins. A listener's is atomic per partition only.
        /// </summary>
        public abstract void PutMany(IReadOnlyList<Entry> entries);

        /// <summary>Removes one value. Removing an absent key is not an error.</summary>
        public abstract void Remove(ReadOnlySpan<byte> key);

        /// <summary>Removes every key of a range. A listener's is not atomic across partitions.</summary>
        public abstract void RemoveRange(KeyRange within);

        /// <summary>
        /// At most <paramref name="limit"/> entries in key order, descending if <paramref name="reverse"/>. Fewer may come before the range
        /// ends (a page has 4 MiB), but at least one if there is one: only an empty page is the end. <see cref="Entries"/> pages by itself.
        /// </summary>
        public abstract IReadOnlyList<Entry> Scan(KeyRange within, int limit, bool reverse = false);

        /// <summary>
        /// The entries of a range in key order, descending if <paramref name="reverse"/>, read page by page as the iteration goes on.
        /// </summary>
        public IEnumerable<Entry> Entries(KeyRange within, bool reverse = false)
        {
            for (int limit = PageEntriesFirst; ; limit = Math.Min(limit * 4, PageEntriesMax))
            {
                IReadOnlyList<Entry> page = Scan(within, limit, reverse);
                if (page.Count == 0) yield break;
                foreach (Entry entry in page) yield return entry;
                within = within.Behind(page[page.Count - 1].Key, reverse);
            }
        }
    }
}
