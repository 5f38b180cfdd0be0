#nullable enable
using System;

namespace Recoil
{
    /// <summary>What a call to a partition may do.</summary>
    public enum Mode
    {
        /// <summary>May write. Answered once its writes are committed on a quorum.</summary>
        Write,
        /// <summary>Linearizable: sees every write answered before the call was made. Never touches the log.</summary>
        Read,
        /// <summary>May be answered by any replica from what it has applied: old, but a state that once was.</summary>
        StaleRead,
    }

    /// <summary>
    /// A request and the partition it is for: the owner of <see cref="Key"/>, or, if that is null, the one with the id
    /// <see cref="Partition"/>.
    /// </summary>
    public sealed class RoutedCall
    {
        private RoutedCall(byte[]? key, int partition, byte[] request, Mode mode)
        {
            Key = key;
            Partition = partition;
            Request = request ?? throw new ArgumentNullException(nameof(request));
            Mode = mode;
        }

        /// <summary>The key whose owner is called; null for a call by id.</summary>
        public byte[]? Key { get; }

        /// <summary>The partition's id, if there is no key.</summary>
        public int Partition { get; }

        /// <summary>What the handler is given.</summary>
        public byte[] Request { get; }

        /// <summary>What the call may do.</summary>
        public Mode Mode { get; }

        /// <summary>A call to the owner of <paramref name="key"/> that may write.</summary>
        public static RoutedCall Write(byte[] key, byte[] request) => ToOwner(key, request, Mode.Write);

        /// <summary>A linearizable read from the owner of <paramref name="key"/>.</summary>
        public static RoutedCall Read(byte[] key, byte[] request) => ToOwner(key, request, Mode.Read);

        /// <summary>A call to the owner of <paramref name="key"/>.</summary>
        public static RoutedCall ToOwner(byte[] key, byte[] request, Mode mode)
            => new RoutedCall(key ?? throw new ArgumentNullException(nameof(key)), 0, request, mode);

        /// <summary>A call to a partition by its id, from 0 to their number less one.</summary>
        public static RoutedCall ToPartition(int id, byte[] request, Mode mode) => new RoutedCall(null, id, request, mode);
    }
}
