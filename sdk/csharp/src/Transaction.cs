#nullable enable
using System;

namespace Recoil
{
    /// <summary>Which partition a handler works on.</summary>
    public sealed class PartitionPlace
    {
        /// <summary>A partition's place.</summary>
        public PartitionPlace(string keyspace, int id, int count, long epoch)
        {
            Keyspace = keyspace;
            Id = id;
            Count = count;
            Epoch = epoch;
        }

        /// <summary>The name of the keyspace.</summary>
        public string Keyspace { get; }

        /// <summary>From 0 to <see cref="Count"/> less one.</summary>
        public int Id { get; }

        /// <summary>The number of partitions in the keyspace.</summary>
        public int Count { get; }

        /// <summary>Grows when the partition moves.</summary>
        public long Epoch { get; }
    }

    /// <summary>
    /// One request's transaction on one partition. Every effect of it happens when the request succeeds, or none does.
    /// </summary>
    public abstract class Transaction : Storage
    {
        /// <summary>Which partition this is.</summary>
        public abstract PartitionPlace Place { get; }

        /// <summary>
        /// Microseconds since the Unix epoch: the same throughout the call, and greater than that of every earlier writing transaction of
        /// this partition.
        /// </summary>
        public abstract long Now { get; }

        /// <summary>True when the caller asked for a read; writes then fail with <see cref="ErrorKind.ReadOnly"/>.</summary>
        public abstract bool IsReadOnly { get; }

        /// <summary>
        /// Has <see cref="ITimer.Fire"/> called with <paramref name="payload"/>, not before <paramref name="at"/> (microseconds since the
        /// Unix epoch). The same <paramref name="id"/> replaces. Only in writing transactions of a package that is an
        /// <see cref="ITimer"/>: otherwise it ends the instance.
        /// </summary>
        public abstract void SetTimer(ReadOnlySpan<byte> id, long at, ReadOnlySpan<byte> payload);

        /// <summary>Cancels a timer; cancelling an absent one is not an error. Only in writing transactions.</summary>
        public abstract void CancelTimer(ReadOnlySpan<byte> id);

        /// <summary>
        /// Sends <paramref name="message"/> to every subscriber of <paramref name="topic"/> once this transaction has committed, at most
        /// once.
        /// </summary>
        public abstract void Publish(ReadOnlySpan<byte> topic, ReadOnlySpan<byte> message);
    }
}
