#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;

namespace Recoil.Fake
{
    /// <summary>A listener's storage: each operation is a transaction on the partition of its key.</summary>
    internal sealed class FakeStorage : Storage
    {
        private readonly FakeCluster cluster;

        internal FakeStorage(FakeCluster cluster) => this.cluster = cluster;

        public override byte[]? Get(ReadOnlySpan<byte> key) => Owner(key).View().Get(key);

        public override IReadOnlyList<byte[]?> GetMany(IReadOnlyList<byte[]> keys) => keys.Select(key => Get(key)).ToList();

        public override void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
        {
            byte[] ownKey = key.ToArray(), ownValue = value.ToArray();
            Write(Owner(key), transaction => transaction.Put(ownKey, ownValue));
        }

        public override void PutMany(IReadOnlyList<Entry> entries)
        {
            foreach (Entry entry in entries) Put(entry.Key, entry.Value);
        }

        public override void Remove(ReadOnlySpan<byte> key)
        {
            byte[] ownKey = key.ToArray();
            Write(Owner(key), transaction => transaction.Remove(ownKey));
        }

        public override void RemoveRange(KeyRange within)
        {
            foreach (FakePartition partition in cluster.All) Write(partition, transaction => transaction.RemoveRange(within));
        }

        public override IReadOnlyList<Entry> Scan(KeyRange within, int limit, bool reverse = false)
        {
            IEnumerable<Entry> entries = cluster.All.SelectMany(partition => partition.View().Entries(within));
            entries = reverse
                ? entries.OrderByDescending(entry => entry.Key, ByteOrder.Instance)
                : entries.OrderBy(entry => entry.Key, ByteOrder.Instance);
            return entries.Take(limit).ToList();
        }

        private FakePartition Owner(ReadOnlySpan<byte> key) => cluster.Reach(cluster.Owner(key));

        private static void Write(FakePartition partition, Action<Transaction> write)
            => partition.InTransaction<object?>(transaction =>
            {
                write(transaction);
                return null;
            });
    }
}
