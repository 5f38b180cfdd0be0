#nullable enable
using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Recoil;

namespace Conformance
{
    /// <summary>Why a command has no answer: a kind that programs look at, and a text for people.</summary>
    public sealed class Refusal : Exception
    {
        private Refusal(string kind, string text) : base(text) => Kind = kind;

        public string Kind { get; }

        /// <summary>The request is not one.</summary>
        public static Refusal Invalid(string text) => new Refusal("invalid", text);

        /// <summary>What the host or a handler refused, as the contract calls it.</summary>
        public static Refusal Of(RecoilException error) => new Refusal(Wire.Kebab(error.Kind.ToString()), error.Reason);
    }

    /// <summary>
    /// Lists, which requests and answers are made of: an item is a length (u32, big endian) and bytes, a list is items, and an answer is a
    /// status (u8) and a list.
    /// </summary>
    public static class Wire
    {
        private const int LengthBytes = 4;
        private const byte Ok = 0;
        private const byte Error = 1;

        public static byte[] Encode(IReadOnlyCollection<byte[]> items) => Encode(items, statusBytes: 0, status: 0);

        public static List<byte[]> Decode(byte[] list)
        {
            var items = new List<byte[]>();
            for (int at = 0; at < list.Length;)
            {
                if (list.Length - at < LengthBytes) throw Refusal.Invalid("a length of fewer than 4 bytes");
                uint length = BinaryPrimitives.ReadUInt32BigEndian(list.AsSpan(at));
                at += LengthBytes;
                if (length > list.Length - at) throw Refusal.Invalid("an item that ends early");
                items.Add(list.AsSpan(at, (int)length).ToArray());
                at += (int)length;
            }
            return items;
        }

        /// <summary>The answer that a command comes to.</summary>
        public static byte[] Answer(Func<IReadOnlyCollection<byte[]>> command)
        {
            try
            {
                return Encode(command(), statusBytes: 1, Ok);
            }
            catch (Refusal refusal)
            {
                return Refused(refusal);
            }
            catch (RecoilException error)
            {
                return Refused(Refusal.Of(error));
            }
        }

        /// <summary>What a call of a handler came to, as one item: its own answer, or why there is none.</summary>
        public static byte[] Answer(Answer answer)
            => answer.Error != null ? Refused(Refusal.Of(answer.Error)) : Prefixed(Ok, answer.Value);

        /// <summary>An option: empty for none, else <c>+</c> and the value.</summary>
        public static byte[] Option(byte[]? value) => value == null ? Array.Empty<byte>() : Prefixed((byte)'+', value);

        public static byte[][] Texts(params object[] values)
            => Array.ConvertAll(values, value => Utf8(Convert.ToString(value, CultureInfo.InvariantCulture)!));

        public static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

        /// <summary><c>StaleRead</c> as the contract has it: <c>stale-read</c>.</summary>
        public static string Kebab(string name)
            => string.Concat(name.Select((letter, at) => char.IsUpper(letter) && at > 0 ? "-" + letter : letter.ToString())).ToLowerInvariant();

        private static byte[] Refused(Refusal refusal) => Encode(Texts(refusal.Kind, refusal.Message), statusBytes: 1, Error);

        private static byte[] Prefixed(byte first, byte[] rest)
        {
            byte[] bytes = new byte[rest.Length + 1];
            bytes[0] = first;
            rest.CopyTo(bytes, 1);
            return bytes;
        }

        private static byte[] Encode(IReadOnlyCollection<byte[]> items, int statusBytes, byte status)
        {
            byte[] bytes = new byte[statusBytes + items.Sum(item => LengthBytes + item.Length)];
            if (statusBytes > 0) bytes[0] = status;
            int at = statusBytes;
            foreach (byte[] item in items)
            {
                BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(at), item.Length);
                item.CopyTo(bytes, at + LengthBytes);
                at += LengthBytes + item.Length;
            }
            return bytes;
        }
    }
}
