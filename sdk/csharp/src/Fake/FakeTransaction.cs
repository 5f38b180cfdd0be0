#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;

namespace Recoil.Fake
{
    /// <summary>A call in progress on a <see cref="FakePartition"/>.</summary>
    internal sealed class FakeTransaction : Transaction
    {
        private const int KeyBytesMax = 65_514;
        private const int ValueBytesMax = 8 << 20;
        private const int WritesBytesMax = 16 << 20;

        private readonly FakePartition partition;
        private readonly List<KeyValuePair<byte[], FakeTimer>> timersBefore;
        /// <summary>Rows as they were, the latest change last; an absent one has no value.</summary>
        private readonly List<(byte[] Key, byte[]? Value)> undo = new List<(byte[], byte[]?)>();
        private readonly List<FakeMessage> messages = new List<FakeMessage>();
        private long bytes;

        internal FakeTransaction(FakePartition partition, bool isReadOnly)
        {
            this.partition = partition;
            IsReadOnly = isReadOnly;
            timersBefore = partition.Timers.ToList();
        }

        public override PartitionPlace Place => partition.Place;
        public override long Now => partition.Now;
        public override bool IsReadOnly { get; }

        /// <summary>What committing publishes.</summary>
        internal IReadOnlyList<FakeMessage> Messages => messages;

        /// <summary>Keeps what was done, or takes it back.</summary>
        internal void End(bool isCommitted)
        {
            if (isCommitted)
            {
                partition.Publish(messages);
                return;
            }
            undo.Reverse();
            foreach ((byte[] key, byte[]? value) in undo)
            {
                if (value == null) partition.Rows.Remove(key);
                else partition.Rows[key] = value;
            }
            partition.Timers.Clear();
            foreach (KeyValuePair<byte[], FakeTimer> timer in timersBefore) partition.Timers.Add(timer.Key, timer.Value);
        }

        public override byte[]? Get(ReadOnlySpan<byte> key)
            => partition.Rows.TryGetValue(key.ToArray(), out byte[]? value) ? Copy(value) : null;

        public override IReadOnlyList<byte[]?> GetMany(IReadOnlyList<byte[]> keys) => keys.Select(key => Get(key)).ToList();

        public override void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
        {
            CheckSize("the key", key.Length, KeyBytesMax);
            CheckSize("the value", value.Length, ValueBytesMax);
            CheckWrite(key.Length + value.Length);
            Set(key.ToArray(), value.ToArray());
        }

        public override void PutMany(IReadOnlyList<Entry> entries)
        {
            foreach (Entry entry in entries) Put(entry.Key, entry.Value);
        }

        public override void Remove(ReadOnlySpan<byte> key)
        {
            CheckWrite(key.Length);
            Set(key.ToArray(), null);
        }

        public override void RemoveRange(KeyRange within)
        {
            CheckWrite(within.Start.Length);
            foreach (Entry row in RowsOf(within).ToList()) Set(row.Key, null);
        }

        public override IReadOnlyList<Entry> Scan(KeyRange within, int limit, bool reverse = false)
        {
            IEnumerable<Entry> rows = reverse ? RowsOf(within).Reverse() : RowsOf(within);
            return rows.Take(Math.Min(limit, partition.PageEntries)).Select(row => new Entry(Copy(row.Key), Copy(row.Value))).ToList();
        }

        public override void SetTimer(ReadOnlySpan<byte> id, long at, ReadOnlySpan<byte> payload)
        {
            CheckWriting(nameof(SetTimer));
            partition.Timers[id.ToArray()] = new FakeTimer(at, payload.ToArray());
        }

        public override void CancelTimer(ReadOnlySpan<byte> id)
        {
            CheckWriting(nameof(CancelTimer));
            partition.Timers.Remove(id.ToArray());
        }

        public override void Publish(ReadOnlySpan<byte> topic, ReadOnlySpan<byte> message)
            => messages.Add(new FakeMessage(topic.ToArray(), message.ToArray()));

        private IEnumerable<Entry> RowsOf(KeyRange within)
            => partition.Rows
                .Where(row => ByteOrder.Instance.Compare(row.Key, within.Start) >= 0)
                .TakeWhile(row => within.End == null || ByteOrder.Instance.Compare(row.Key, within.End) < 0)
                .Select(row => new Entry(row.Key, row.Value));

        private void CheckWriting(string method)
        {
            if (IsReadOnly) throw new InvalidOperationException(method + " in a read-only call ends the instance");
        }

        private void CheckWrite(int size)
        {
            if (IsReadOnly) throw new RecoilException(ErrorKind.ReadOnly, "");
            CheckSize("the writes of the transaction", bytes + size, WritesBytesMax);
            bytes += size;
        }

        private static void CheckSize(string what, long size, int limit)
        {
            if (size > limit) throw new RecoilException(ErrorKind.TooLarge, $"{what}: {size} bytes, the limit is {limit}");
        }

        private void Set(byte[] key, byte[]? value)
        {
            undo.Add((key, partition.Rows.TryGetValue(key, out byte[]? before) ? before : null));
            if (value == null) partition.Rows.Remove(key);
            else partition.Rows[key] = value;
        }

        private static byte[] Copy(byte[] bytes) => (byte[])bytes.Clone();
    }
}
