#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Runtime
{
    /// <summary>The interface <c>storage</c>, which a handler's transaction and a listener's storage share.</summary>
    internal static unsafe class StorageCalls
    {
        /// <summary>Bytes of an <c>option&lt;list&lt;u8>></c> and of an <c>entry</c>.</summary>
        private const int OptionBytes = 12;
        private const int EntryBytes = 16;

        private static readonly ErrorKind[] Errors =
            { ErrorKind.TooLarge, ErrorKind.ReadOnly, ErrorKind.QuotaExceeded, ErrorKind.Unavailable };

        internal static byte[]? Get(ReadOnlySpan<byte> key)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (byte* keyAt = key)
            {
                slots[0] = (int)keyAt;
                slots[1] = key.Length;
                slots[2] = (int)result;
                Guest.Call(Op.storage_get);
            }
            Abi.Check(result, Errors);
            byte[]? value = Abi.OptionalBytes(result + 4);
            Guest.Release();
            return value;
        }

        internal static List<byte[]?> GetMany(IReadOnlyList<byte[]> keys)
        {
            int count = keys.Count;
            long bytes = 0;
            for (int i = 0; i < count; i++) bytes += keys[i].Length;
            var list = new Outgoing(Abi.List, count, bytes);
            for (int i = 0; i < count; i++) list.Put(list.Items + Abi.List * i, keys[i]);
            byte* result = CallWithList(Op.storage_get_many, list.Items, count);
            byte* value = (byte*)Abi.Number(result + 4);
            count = Abi.Number(result + 8);
            var values = new List<byte[]?>(count);
            for (; count > 0; count--, value += OptionBytes) values.Add(Abi.OptionalBytes(value));
            Guest.Release();
            return values;
        }

        internal static void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (byte* keyAt = key, valueAt = value)
            {
                slots[0] = (int)keyAt;
                slots[1] = key.Length;
                slots[2] = (int)valueAt;
                slots[3] = value.Length;
                slots[4] = (int)result;
                Guest.Call(Op.storage_put);
            }
            Abi.Check(result, Errors);
        }

        internal static void PutMany(IReadOnlyList<Entry> entries)
        {
            int count = entries.Count;
            long bytes = 0;
            for (int i = 0; i < count; i++) bytes += entries[i].Key.Length + entries[i].Value.Length;
            var list = new Outgoing(EntryBytes, count, bytes);
            for (int i = 0; i < count; i++)
            {
                list.Put(list.Items + EntryBytes * i, entries[i].Key);
                list.Put(list.Items + EntryBytes * i + Abi.List, entries[i].Value);
            }
            CallWithList(Op.storage_put_many, list.Items, count);
            Guest.Release();
        }

        internal static void Remove(ReadOnlySpan<byte> key)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (byte* keyAt = key)
            {
                slots[0] = (int)keyAt;
                slots[1] = key.Length;
                slots[2] = (int)result;
                Guest.Call(Op.storage_remove);
            }
            Abi.Check(result, Errors);
        }

        internal static void RemoveRange(KeyRange within)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            byte[] start = within.Start;
            byte[]? end = within.End;
            fixed (byte* startAt = start, endAt = end)
            {
                PutRange(slots, startAt, start, endAt, end);
                slots[5] = (int)result;
                Guest.Call(Op.storage_remove_range);
            }
            Abi.Check(result, Errors);
        }

        internal static List<Entry> Scan(KeyRange within, int limit, bool reverse)
        {
            if (limit < 0) throw new ArgumentOutOfRangeException(nameof(limit), limit, "a limit is not negative");
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            byte[] start = within.Start;
            byte[]? end = within.End;
            fixed (byte* startAt = start, endAt = end)
            {
                PutRange(slots, startAt, start, endAt, end);
                slots[5] = limit;
                slots[6] = reverse ? 1 : 0;
                slots[7] = (int)result;
                Guest.Call(Op.storage_scan);
            }
            Abi.Check(result, Errors);
            byte* entry = (byte*)Abi.Number(result + 4);
            int count = Abi.Number(result + 8);
            var entries = new List<Entry>(count);
            for (; count > 0; count--, entry += EntryBytes) entries.Add(new Entry(Abi.Bytes(entry), Abi.Bytes(entry + Abi.List)));
            Guest.Release();
            return entries;
        }

        private static void PutRange(long* slots, byte* startAt, byte[] start, byte* endAt, byte[]? end)
        {
            slots[0] = (int)startAt;
            slots[1] = start.Length;
            slots[2] = end == null ? 0 : 1;
            slots[3] = (int)endAt;
            slots[4] = end == null ? 0 : end.Length;
        }

        /// <summary>A call whose one parameter is a list; where its result lies, which is no error.</summary>
        private static byte* CallWithList(int op, byte* items, int count)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            slots[0] = (int)items;
            slots[1] = count;
            slots[2] = (int)result;
            Guest.Call(op);
            Abi.Check(result, Errors);
            return result;
        }
    }

    /// <summary>A listener's storage.</summary>
    internal sealed class HostStorage : Storage
    {
        public override byte[]? Get(ReadOnlySpan<byte> key) => StorageCalls.Get(key);
        public override IReadOnlyList<byte[]?> GetMany(IReadOnlyList<byte[]> keys) => StorageCalls.GetMany(keys);
        public override void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value) => StorageCalls.Put(key, value);
        public override void PutMany(IReadOnlyList<Entry> entries) => StorageCalls.PutMany(entries);
        public override void Remove(ReadOnlySpan<byte> key) => StorageCalls.Remove(key);
        public override void RemoveRange(KeyRange within) => StorageCalls.RemoveRange(within);
        public override IReadOnlyList<Entry> Scan(KeyRange within, int limit, bool reverse = false)
            => StorageCalls.Scan(within, limit, reverse);
    }
}
