#nullable enable
using System;
using System.Collections.Generic;
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>
    /// Values as the Canonical ABI lays them out: a list or string is a pointer and a length of 4 bytes each, a variant its case in a byte and
    /// its payload behind it.
    /// </summary>
    internal static unsafe class Abi
    {
        /// <summary>Bytes of a <c>list</c> or a <c>string</c>.</summary>
        internal const int List = 8;

        internal static int Number(byte* at) => *(int*)at;

        internal static int? OptionalNumber(byte* at) => at[0] == 0 ? (int?)null : Number(at + 4);

        internal static byte[] Bytes(byte* at) => Bytes(Number(at), Number(at + 4));

        internal static byte[] Bytes(long pointer, long length)
            => length == 0 ? Array.Empty<byte>() : new ReadOnlySpan<byte>((void*)(int)pointer, (int)length).ToArray();

        internal static byte[]? OptionalBytes(byte* at) => at[0] == 0 ? null : Bytes(at + 4);

        internal static string Text(byte* at) => Text(Number(at), Number(at + 4));

        internal static string Text(long pointer, long length)
            => length == 0 ? "" : Encoding.UTF8.GetString((byte*)(int)pointer, (int)length);

        internal static int[] Numbers(byte* at) => Items(at, sizeof(int), Number);

        /// <summary>Reads what lies at a place.</summary>
        internal delegate T Reader<T>(byte* at);

        /// <summary>The list at this place, each item of which has that many bytes.</summary>
        internal static T[] Items<T>(byte* at, int itemBytes, Reader<T> item) => Items(Number(at), Number(at + 4), itemBytes, item);

        internal static T[] Items<T>(long pointer, long length, int itemBytes, Reader<T> item)
        {
            byte* at = (byte*)(int)pointer;
            var items = new T[(int)length];
            for (int i = 0; i < items.Length; i++, at += itemBytes) items[i] = item(at);
            return items;
        }

        /// <summary>Throws what a <c>result</c> at this place says, if it is an error: a variant of these kinds.</summary>
        internal static void Check(byte* result, ErrorKind[] kinds)
        {
            if (result[0] != 0) throw Error(result + 4, kinds);
        }

        /// <summary>The error at this place; with it everything is released.</summary>
        private static RecoilException Error(byte* at, ErrorKind[] kinds)
        {
            RecoilException error = ErrorOf(at, kinds);
            Guest.Release();
            return error;
        }

        private static RecoilException ErrorOf(byte* at, ErrorKind[] kinds)
        {
            ErrorKind kind = kinds[at[0]];
            switch (kind)
            {
                case ErrorKind.ReadOnly:
                case ErrorKind.Conflict:
                case ErrorKind.Closed:
                case ErrorKind.TimedOut:
                    return new RecoilException(kind, "");
                default:
                    return new RecoilException(kind, Text(at + 4));
            }
        }

        /// <summary>The answers at this place: a list of <c>result&lt;list&lt;u8>, error></c>. With them everything is released.</summary>
        internal static List<Answer> Answers(byte* at, ErrorKind[] kinds)
        {
            const int resultBytes = 16;
            byte* result = (byte*)Number(at);
            int count = Number(at + 4);
            var answers = new List<Answer>(count);
            for (; count > 0; count--, result += resultBytes)
                answers.Add(result[0] == 0 ? new Answer(Bytes(result + 4)) : new Answer(ErrorOf(result + 4, kinds)));
            Guest.Release();
            return answers;
        }

        /// <summary>Milliseconds as the contract has them; an infinite timeout is as long as possible.</summary>
        internal static int Milliseconds(TimeSpan timeout)
        {
            if (timeout == System.Threading.Timeout.InfiniteTimeSpan) return int.MaxValue;
            if (timeout < TimeSpan.Zero) throw new ArgumentOutOfRangeException(nameof(timeout), timeout, "a timeout is not negative");
            return (int)Math.Min(int.MaxValue, timeout.TotalMilliseconds);
        }
    }

    /// <summary>
    /// A list on its way to the host, in one unmanaged block: first its items, then the bytes that they point to. Objects may move, and are
    /// not pinned by the thousand.
    /// </summary>
    internal unsafe ref struct Outgoing
    {
        private byte* free;

        internal Outgoing(int itemBytes, int count, long contentBytes)
        {
            Items = Guest.Allocate(checked((int)((long)itemBytes * count + contentBytes)));
            free = Items + itemBytes * count;
        }

        /// <summary>Where the items lie.</summary>
        internal byte* Items { get; }

        /// <summary>Lets a list at this place of the items have these numbers. Bytes are put behind all numbers, which are aligned so.</summary>
        internal void Put(byte* at, IReadOnlyList<int> numbers)
        {
            ((int*)at)[0] = (int)free;
            ((int*)at)[1] = numbers.Count;
            for (int i = 0; i < numbers.Count; i++, free += sizeof(int)) *(int*)free = numbers[i];
        }

        /// <summary>
        /// Lets a list at this place of the items have items of its own, which are put there later. They lie behind all items and before
        /// all bytes, and are so aligned as those are.
        /// </summary>
        internal void Reserve(byte* at, int itemBytes, int count)
        {
            ((int*)at)[0] = (int)free;
            ((int*)at)[1] = count;
            free += itemBytes * count;
        }

        /// <summary>Lets a list at this place of the items have these bytes.</summary>
        internal void Put(byte* at, byte[] bytes)
        {
            bytes.AsSpan().CopyTo(new Span<byte>(free, bytes.Length));
            ((int*)at)[0] = (int)free;
            ((int*)at)[1] = bytes.Length;
            free += bytes.Length;
        }
    }
}
