#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;

namespace Recoil.Fake
{
    /// <summary>
    /// A router to partitions in memory, in groups: partition <c>p</c> belongs to group <c>p % groups</c>, and a transaction over several groups
    /// is rejected.
    /// </summary>
    public sealed class FakeCluster : Router
    {
        private readonly IHandler handler;
        private readonly FakePartition[] partitions;
        private readonly int groups;
        private readonly List<FakeSubscription> subscriptions = new List<FakeSubscription>();
        private readonly Dictionary<int, RecoilException> faults = new Dictionary<int, RecoilException>();

        /// <summary>
        /// <paramref name="partitions"/> partitions in <paramref name="groups"/> groups, all of <paramref name="handler"/>; at least one of
        /// each.
        /// </summary>
        public FakeCluster(IHandler handler, int partitions, int groups)
        {
            if (partitions < 1 || groups < 1) throw new ArgumentException("a cluster has at least one partition and one group");
            this.handler = handler;
            this.partitions = Enumerable.Range(0, partitions).Select(id => new FakePartition(id, partitions)).ToArray();
            this.groups = groups;
            Storage = new FakeStorage(this);
        }

        /// <summary>Calls evaluated so far.</summary>
        public long Calls { get; private set; }

        /// <inheritdoc/>
        public override Storage Storage { get; }

        internal IReadOnlyList<FakePartition> All => partitions;

        /// <summary>A partition, to look at or to change.</summary>
        public FakePartition Partition(int id) => partitions[id];

        /// <summary>The id of the partition that owns <paramref name="key"/>.</summary>
        public int Owner(ReadOnlySpan<byte> key)
        {
            ulong hash = 0xcbf29ce484222325; // FNV-1a: a test can rely on it, and a package cannot know it
            foreach (byte value in key) hash = unchecked((hash ^ value) * 0x100000001b3);
            return (int)((hash >> 32) % (uint)partitions.Length);
        }

        /// <summary>From now on calls to this partition fail like this and are not evaluated; null heals.</summary>
        public void FailPartition(int id, RecoilException? failure)
        {
            faults.Remove(id);
            if (failure != null) faults.Add(id, failure);
        }

        /// <summary>Lets time pass on every partition, and fires what comes due; answers how many timers fired.</summary>
        public int Advance(ITimer timer, long microseconds) => partitions.Sum(partition => partition.Advance(timer, microseconds));

        /// <inheritdoc/>
        public override byte[] Call(RoutedCall call)
        {
            FakePartition partition = Reach(IdOf(call));
            Calls++;
            if (call.Mode != Mode.Write) return partition.Read(handler, call.Request);
            int before = partition.Published.Count;
            byte[] answer = partition.Write(handler, call.Request);
            Deliver(partition.Published.Skip(before));
            return answer;
        }

        /// <inheritdoc/>
        public override IReadOnlyList<Answer> CallMany(IReadOnlyList<RoutedCall> calls) => calls.Select(AnswerOf).ToList();

        /// <inheritdoc/>
        public override Pending Submit(RoutedCall call) => new FakePending(AnswerOf(call));

        /// <inheritdoc/>
        public override IReadOnlyList<Answer> WaitAll(IReadOnlyList<Pending> calls)
            => calls.Select(call => ((FakePending)call).Take()).ToList();

        /// <inheritdoc/>
        public override IReadOnlyList<byte[]> Transact(IReadOnlyList<RoutedCall> calls)
        {
            int[] ids = calls.Select(IdOf).ToArray();
            var spanned = new SortedSet<int>(ids.Select(id => id % groups));
            if (spanned.Count > 1) throw new RecoilException($"the transaction spans groups [{string.Join(", ", spanned)}]");
            var transactions = new SortedDictionary<int, FakeTransaction>();
            foreach (int id in ids.Distinct()) transactions.Add(id, Reach(id).Begin());
            bool isCommitted = false;
            try
            {
                var answers = new List<byte[]>();
                for (int i = 0; i < ids.Length; i++)
                {
                    FakeTransaction transaction = transactions[ids[i]];
                    byte[] request = calls[i].Request;
                    Calls++;
                    answers.Add(FakePartition.Rejecting(() => handler.Handle(transaction, request)));
                }
                isCommitted = true;
                return answers;
            }
            finally
            {
                foreach (FakeTransaction transaction in transactions.Values)
                {
                    transaction.End(isCommitted);
                    if (isCommitted) Deliver(transaction.Messages);
                }
            }
        }

        /// <inheritdoc/>
        public override IReadOnlyList<Answer> Scatter(byte[] request, Mode mode)
            => partitions.Select(partition => AnswerOf(RoutedCall.ToPartition(partition.Place.Id, request, mode))).ToList();

        /// <inheritdoc/>
        public override PartitionInfo Locate(ReadOnlySpan<byte> key) => Info(Owner(key));

        /// <inheritdoc/>
        public override IReadOnlyList<PartitionInfo> Partitions() => partitions.Select(partition => Info(partition.Place.Id)).ToList();

        /// <inheritdoc/>
        public override Subscription Subscribe(ReadOnlySpan<byte> topic)
        {
            var subscription = new FakeSubscription(topic.ToArray());
            subscriptions.Add(subscription);
            return subscription;
        }

        /// <summary>The partition of that id, unless a test has it fail.</summary>
        internal FakePartition Reach(int id)
        {
            if (faults.TryGetValue(id, out RecoilException? fault)) throw new RecoilException(fault.Kind, fault.Reason);
            return partitions[id];
        }

        private int IdOf(RoutedCall call)
        {
            if (call.Key != null) return Owner(call.Key);
            if (call.Partition >= 0 && call.Partition < partitions.Length) return call.Partition;
            throw new RecoilException($"there is no partition {call.Partition}: there are {partitions.Length}");
        }

        private Answer AnswerOf(RoutedCall call)
        {
            try
            {
                return new Answer(Call(call));
            }
            catch (RecoilException failure)
            {
                return new Answer(failure);
            }
        }

        private void Deliver(IEnumerable<FakeMessage> messages)
        {
            foreach (FakeMessage message in messages)
                foreach (FakeSubscription subscription in subscriptions) subscription.Offer(message);
        }

        private PartitionInfo Info(int id)
        {
            int member = id % groups + 1;
            return new PartitionInfo(id, member, new[] { member }, 1);
        }
    }

    internal sealed class FakePending : Pending
    {
        private Answer? answer;

        internal FakePending(Answer answer) => this.answer = answer;

        public override bool IsReady => true;

        internal Answer Take()
        {
            Answer taken = answer ?? throw new ObjectDisposedException(nameof(Pending), "it has been waited for or disposed of");
            answer = null;
            return taken;
        }

        public override byte[] Wait() => Take().Value;

        public override void Dispose() => answer = null;
    }

    internal sealed class FakeSubscription : Subscription
    {
        private readonly byte[] topic;
        private readonly Queue<byte[]> messages = new Queue<byte[]>();
        private bool isDisposed;

        internal FakeSubscription(byte[] topic) => this.topic = topic;

        internal bool HasMessage => messages.Count > 0;

        internal void Offer(FakeMessage message)
        {
            if (!isDisposed && message.Topic.AsSpan().SequenceEqual(topic)) messages.Enqueue(message.Message);
        }

        public override byte[]? Next(TimeSpan timeout) => HasMessage ? messages.Dequeue() : null;

        public override void Dispose()
        {
            isDisposed = true;
            messages.Clear();
        }
    }
}
