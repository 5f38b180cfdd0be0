#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Runtime
{
    /// <summary>The interfaces <c>storage</c> and <c>partition</c>, as a handler has them. The host knows which call is under way.</summary>
    internal sealed unsafe class HostTransaction : Transaction
    {
        internal static readonly HostTransaction Current = new HostTransaction();

        private HostTransaction() { }

        public override byte[]? Get(ReadOnlySpan<byte> key) => StorageCalls.Get(key);
        public override IReadOnlyList<byte[]?> GetMany(IReadOnlyList<byte[]> keys) => StorageCalls.GetMany(keys);
        public override void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value) => StorageCalls.Put(key, value);
        public override void PutMany(IReadOnlyList<Entry> entries) => StorageCalls.PutMany(entries);
        public override void Remove(ReadOnlySpan<byte> key) => StorageCalls.Remove(key);
        public override void RemoveRange(KeyRange within) => StorageCalls.RemoveRange(within);
        public override IReadOnlyList<Entry> Scan(KeyRange within, int limit, bool reverse = false)
            => StorageCalls.Scan(within, limit, reverse);

        public override PartitionPlace Place
        {
            get
            {
                byte* result = Guest.Result;
                Guest.Slots[0] = (int)result;
                Guest.Call(Op.partition_current);
                var place = new PartitionPlace(
                    Abi.Text(result), Abi.Number(result + 8), Abi.Number(result + 12), *(long*)(result + 16));
                Guest.Release();
                return place;
            }
        }

        public override long Now
        {
            get
            {
                Guest.Call(Op.partition_now);
                return Guest.Slots[0];
            }
        }

        public override bool IsReadOnly
        {
            get
            {
                Guest.Call(Op.partition_is_read_only);
                return (int)Guest.Slots[0] != 0;
            }
        }

        public override void SetTimer(ReadOnlySpan<byte> id, long at, ReadOnlySpan<byte> payload)
        {
            if (at < 0) throw new ArgumentOutOfRangeException(nameof(at), at, "a time is not negative");
            long* slots = Guest.Slots;
            fixed (byte* idAt = id, payloadAt = payload)
            {
                slots[0] = (int)idAt;
                slots[1] = id.Length;
                slots[2] = at;
                slots[3] = (int)payloadAt;
                slots[4] = payload.Length;
                Guest.Call(Op.partition_set_timer);
            }
        }

        public override void CancelTimer(ReadOnlySpan<byte> id)
        {
            fixed (byte* idAt = id)
            {
                Guest.Slots[0] = (int)idAt;
                Guest.Slots[1] = id.Length;
                Guest.Call(Op.partition_cancel_timer);
            }
        }

        public override void Publish(ReadOnlySpan<byte> topic, ReadOnlySpan<byte> message)
        {
            long* slots = Guest.Slots;
            fixed (byte* topicAt = topic, messageAt = message)
            {
                slots[0] = (int)topicAt;
                slots[1] = topic.Length;
                slots[2] = (int)messageAt;
                slots[3] = message.Length;
                Guest.Call(Op.partition_publish);
            }
        }
    }
}
