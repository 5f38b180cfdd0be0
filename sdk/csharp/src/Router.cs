#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil
{
    /// <summary>
    /// How a listener reaches partitions, wherever their leaders are. Calls to one partition are answered in the order in which they were
    /// made. A failed call throws <see cref="RecoilException"/>; of many calls each has an <see cref="Answer"/> of its own.
    /// </summary>
    public abstract class Router
    {
        /// <summary>The app's storage without its handler: each call is one operation on the partition that owns the key.</summary>
        public abstract Storage Storage { get; }

        /// <summary>Runs the handler of one partition and waits for its answer.</summary>
        public abstract byte[] Call(RoutedCall call);

        /// <summary>Many calls in one crossing, the cheapest batch; answers in their order. Not a transaction.</summary>
        public abstract IReadOnlyList<Answer> CallMany(IReadOnlyList<RoutedCall> calls);

        /// <summary>Starts a call without waiting, to overlap it with other work.</summary>
        public abstract Pending Submit(RoutedCall call);

        /// <summary>Waits for calls under way; answers in the order of <paramref name="calls"/>. Each of them is used up.</summary>
        public abstract IReadOnlyList<Answer> WaitAll(IReadOnlyList<Pending> calls);

        /// <summary>
        /// All or nothing across partitions, serializable; answers in the order of <paramref name="calls"/>, which are evaluated in that
        /// order. All partitions must belong to one Raft group (keys with one owner always do), otherwise <see cref="ErrorKind.Rejected"/>.
        /// </summary>
        public abstract IReadOnlyList<byte[]> Transact(IReadOnlyList<RoutedCall> calls);

        /// <summary>One call to every partition, answers in partition order. Not a transaction.</summary>
        public abstract IReadOnlyList<Answer> Scatter(byte[] request, Mode mode);

        /// <summary>The partition that owns <paramref name="key"/>, and where it is.</summary>
        public abstract PartitionInfo Locate(ReadOnlySpan<byte> key);

        /// <summary>Every partition, in the order of their ids.</summary>
        public abstract IReadOnlyList<PartitionInfo> Partitions();

        /// <summary>What handlers of this app publish on <paramref name="topic"/> from now on, at most once.</summary>
        public abstract Subscription Subscribe(ReadOnlySpan<byte> topic);
    }

    /// <summary>How one of many calls ended: with a value, or with an exception of its own.</summary>
    public sealed class Answer
    {
        private readonly byte[]? value;

        /// <summary>A call that was answered.</summary>
        public Answer(byte[] value) => this.value = value ?? throw new ArgumentNullException(nameof(value));

        /// <summary>A call that failed.</summary>
        public Answer(RecoilException error) => Error = error ?? throw new ArgumentNullException(nameof(error));

        /// <summary>True when there is a value.</summary>
        public bool IsOk => value != null;

        /// <summary>The value; throws the exception if there is none.</summary>
        public byte[] Value => value ?? throw Error!;

        /// <summary>The exception; null if there is a value.</summary>
        public RecoilException? Error { get; }
    }

    /// <summary>
    /// A call under way. Waiting for it uses it up; disposing of it instead forgets the answer, not the call. One that the package forgets
    /// needs neither.
    /// </summary>
    public abstract class Pending : IDisposable
    {
        /// <summary>True when <see cref="Wait"/> would not block.</summary>
        public abstract bool IsReady { get; }

        /// <summary>The answer, once.</summary>
        public abstract byte[] Wait();

        /// <summary>Forgets the answer. What has been waited for or disposed of is left alone.</summary>
        public abstract void Dispose();
    }

    /// <summary>
    /// Messages of one topic, from the moment of subscribing until this is disposed of or the call of the package returns. A subscriber
    /// more than 1,024 messages behind loses some.
    /// </summary>
    public abstract class Subscription : IDisposable
    {
        /// <summary>The next message; null when <paramref name="timeout"/> has passed without one.</summary>
        public abstract byte[]? Next(TimeSpan timeout);

        /// <summary>Ends the subscription.</summary>
        public abstract void Dispose();
    }

    /// <summary>A partition and where it is. Nodes are named by their member number, a small counter.</summary>
    public sealed class PartitionInfo
    {
        /// <summary>A partition and where it is.</summary>
        public PartitionInfo(int id, int? leader, IReadOnlyList<int> replicas, long epoch)
        {
            Id = id;
            Leader = leader;
            Replicas = replicas;
            Epoch = epoch;
        }

        /// <summary>The partition.</summary>
        public int Id { get; }

        /// <summary>The node that leads it; null during an election.</summary>
        public int? Leader { get; }

        /// <summary>The nodes that have a replica.</summary>
        public IReadOnlyList<int> Replicas { get; }

        /// <summary>Grows when the partition moves.</summary>
        public long Epoch { get; }
    }
}
