#nullable enable
using System;
using System.Buffers.Binary;
using System.IO;

namespace Recoil
{
    /// <summary>
    /// A key made of parts, whose byte order is the order of its parts, so that a scan returns keys sorted: numbers are big-endian, and a
    /// byte string of any content is escaped so that a shorter one sorts before a longer one and no part can be mistaken for the next.
    /// </summary>
    /// <example><code>
    /// byte[] key = Key.Of('T').Bytes(name).Number(7).ToBytes();
    /// KeyReader parts = Key.Read(key);
    /// Debug.Assert(parts.Kind() == 'T' &amp;&amp; parts.Bytes().AsSpan().SequenceEqual(name) &amp;&amp; parts.Number() == 7);
    /// </code></example>
    public sealed class Key
    {
        internal const int EscapedZero = 0xff;

        private readonly MemoryStream key = new MemoryStream();

        private Key() { }

        /// <summary>A key of the kind <paramref name="kind"/>, a character up to 255, which keeps a package's kinds of rows apart.</summary>
        public static Key Of(char kind)
        {
            if (kind > 0xff) throw new ArgumentOutOfRangeException(nameof(kind), kind, "a kind is a character up to 255");
            var key = new Key();
            key.key.WriteByte((byte)kind);
            return key;
        }

        /// <summary>Takes the parts off a key's front.</summary>
        public static KeyReader Read(byte[] key) => new KeyReader(key);

        /// <summary>Appends a byte string: zeros become <c>00 ff</c>, and <c>00 00</c> ends it.</summary>
        public Key Bytes(ReadOnlySpan<byte> part)
        {
            foreach (byte value in part)
            {
                key.WriteByte(value);
                if (value == 0) key.WriteByte(EscapedZero);
            }
            key.WriteByte(0);
            key.WriteByte(0);
            return this;
        }

        /// <summary>Appends a number: negative ones sort first.</summary>
        public Key Number(long part)
        {
            Span<byte> ordered = stackalloc byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(ordered, part ^ long.MinValue);
            key.Write(ordered);
            return this;
        }

        /// <summary>The key.</summary>
        public byte[] ToBytes() => key.ToArray();
    }

    /// <summary>The parts of a key, in their order. What is not such a key is a <see cref="FormatException"/>.</summary>
    public sealed class KeyReader
    {
        private readonly byte[] key;
        private int at;

        internal KeyReader(byte[] key) => this.key = key;

        /// <summary>True when every part has been read.</summary>
        public bool IsAtEnd => at == key.Length;

        /// <summary>The kind, which comes first.</summary>
        public char Kind() => (char)Next();

        /// <summary>A byte string.</summary>
        public byte[] Bytes()
        {
            var part = new MemoryStream();
            while (true)
            {
                byte value = Next();
                if (value == 0)
                {
                    byte escape = Next();
                    if (escape == 0) return part.ToArray();
                    if (escape != Key.EscapedZero)
                        throw new FormatException($"byte {at - 1} of the key: a zero that is neither escaped nor an end");
                }
                part.WriteByte(value);
            }
        }

        /// <summary>A number.</summary>
        public long Number()
        {
            if (key.Length - at < sizeof(long)) throw Short();
            long ordered = BinaryPrimitives.ReadInt64BigEndian(key.AsSpan(at));
            at += sizeof(long);
            return ordered ^ long.MinValue;
        }

        private byte Next() => at < key.Length ? key[at++] : throw Short();

        private FormatException Short() => new FormatException($"the key ends at byte {key.Length}, within a part");
    }
}
