#nullable enable
using System;

namespace Recoil
{
    /// <summary>Keys from <see cref="Start"/>, which is included, to <see cref="End"/>, which is not.</summary>
    public readonly struct KeyRange
    {
        private readonly byte[]? start;

        /// <summary>
        /// Keys from <paramref name="start"/>, which is included, to <paramref name="end"/>, which is not; null leaves the range open. An
        /// end at or before the start is an empty range.
        /// </summary>
        public KeyRange(byte[] start, byte[]? end)
        {
            this.start = start ?? throw new ArgumentNullException(nameof(start));
            End = end;
        }

        /// <summary>The first key; empty for the beginning.</summary>
        public byte[] Start => start ?? Array.Empty<byte>();

        /// <summary>The first key behind the range; null for an open one.</summary>
        public byte[]? End { get; }

        /// <summary>Every key.</summary>
        public static KeyRange All => default;

        /// <summary>Every key that begins with <paramref name="prefix"/>.</summary>
        public static KeyRange Prefix(byte[] prefix)
        {
            for (int last = prefix.Length - 1; last >= 0; last--)
            {
                if (prefix[last] == 0xff) continue;
                byte[] end = prefix.AsSpan(0, last + 1).ToArray();
                end[last]++;
                return new KeyRange(prefix, end);
            }
            return new KeyRange(prefix, null);
        }

        /// <summary>What is left of this range behind <paramref name="key"/>, in the direction of a scan.</summary>
        internal KeyRange Behind(byte[] key, bool reverse)
        {
            if (reverse) return new KeyRange(Start, key);
            byte[] next = new byte[key.Length + 1]; // the smallest key behind it: the key and a zero
            key.CopyTo(next, 0);
            return new KeyRange(next, End);
        }
    }
}
