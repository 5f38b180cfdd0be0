#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Fake
{
    /// <summary>The order of keys: byte by byte, a shorter one before those that begin with it.</summary>
    public sealed class ByteOrder : IComparer<byte[]>
    {
        /// <summary>The order.</summary>
        public static readonly ByteOrder Instance = new ByteOrder();

        private ByteOrder() { }

        /// <summary>Below 0 if <paramref name="a"/> comes first, above 0 if <paramref name="b"/> does.</summary>
        public int Compare(byte[]? a, byte[]? b) => a.AsSpan().SequenceCompareTo(b);
    }
}
