#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;

namespace Recoil.Fake
{
    /// <summary>A timer that is set: when, in microseconds since the Unix epoch, and with which payload.</summary>
    public sealed class FakeTimer
    {
        internal FakeTimer(long at, byte[] payload)
        {
            At = at;
            Payload = payload;
        }

        /// <summary>Microseconds since the Unix epoch.</summary>
        public long At { get; }

        /// <summary>What the timer is told.</summary>
        public byte[] Payload { get; }
    }

    /// <summary>A message that was published.</summary>
    public sealed class FakeMessage
    {
        internal FakeMessage(byte[] topic, byte[] message)
        {
            Topic = topic;
            Message = message;
        }

        /// <summary>Whom it is for.</summary>
        public byte[] Topic { get; }

        /// <summary>What it says.</summary>
        public byte[] Message { get; }
    }

    /// <summary>
    /// A partition in memory, with everything that a transaction can do to it in plain sight: storage, time, timers, messages, rollback,
    /// read-only calls and the contract's limits.
    /// </summary>
    /// <remarks>
    /// Where the contract leaves a choice to the host, this takes the one that is harder for the package, such as short pages. It has
    /// neither memory limits nor deadlines.
    /// </remarks>
    public sealed class FakePartition
    {
        private const long StartMicroseconds = 1_750_000_000_000_000;
        private const long RetryMicroseconds = 1_000_000;

        private readonly SortedDictionary<byte[], byte[]> rows = new SortedDictionary<byte[], byte[]>(ByteOrder.Instance);
        private readonly SortedDictionary<byte[], FakeTimer> timers = new SortedDictionary<byte[], FakeTimer>(ByteOrder.Instance);
        private readonly List<FakeMessage> published = new List<FakeMessage>();

        /// <summary>An empty partition, <paramref name="id"/> of <paramref name="count"/>, at a time in 2025.</summary>
        public FakePartition(int id = 0, int count = 1) => Place = new PartitionPlace("default", id, count, 1);

        /// <summary>Every row, in key order; a test may change them.</summary>
        public IDictionary<byte[], byte[]> Rows => rows;

        /// <summary>The timers that are set, by their ids.</summary>
        public IDictionary<byte[], FakeTimer> Timers => timers;

        /// <summary>Everything published so far, in commit order.</summary>
        public IReadOnlyList<FakeMessage> Published => published;

        /// <summary>
        /// The time of the last transaction, microseconds since the Unix epoch; each writing one is at least a microsecond later.
        /// </summary>
        public long Now { get; private set; } = StartMicroseconds;

        /// <summary>The most entries that a page of a scan has, whatever is asked for.</summary>
        public int PageEntries { get; set; } = 100;

        internal PartitionPlace Place { get; }

        /// <summary>Answers a request that may write, in a transaction of its own. What is thrown has changed nothing.</summary>
        public byte[] Write(IHandler handler, byte[] request)
            => InTransaction(transaction => Rejecting(() => handler.Handle(transaction, request)));

        /// <summary>Answers a request that may only read.</summary>
        public byte[] Read(IHandler handler, byte[] request) => Rejecting(() => handler.Handle(View(), request));

        /// <summary>A transaction that may only read, for a test that looks into the partition.</summary>
        public Transaction View() => new FakeTransaction(this, isReadOnly: true);

        /// <summary>
        /// Lets time pass, and fires what comes due, in the order of time; answers how many timers fired. A timer that fails stays, due a
        /// second later.
        /// </summary>
        public int Advance(ITimer timer, long microseconds)
        {
            long until = Now + microseconds;
            int fired = 0;
            for (byte[]? id = Due(until); id != null; id = Due(until), fired++)
            {
                byte[] current = id;
                FakeTimer set = timers[current];
                Now = Math.Max(Now, set.At);
                try
                {
                    InTransaction(transaction => Rejecting<object?>(() =>
                    {
                        transaction.CancelTimer(current);
                        timer.Fire(transaction, current, set.Payload);
                        return null;
                    }));
                }
                catch (RecoilException)
                {
                    timers[current] = new FakeTimer(Now + RetryMicroseconds, set.Payload);
                }
            }
            Now = Math.Max(Now, until);
            return fired;
        }

        private byte[]? Due(long until)
            => timers.Where(timer => timer.Value.At <= until).OrderBy(timer => timer.Value.At).Select(timer => timer.Key).FirstOrDefault();

        internal FakeTransaction Begin()
        {
            Now++;
            return new FakeTransaction(this, isReadOnly: false);
        }

        internal T InTransaction<T>(Func<Transaction, T> body)
        {
            FakeTransaction transaction = Begin();
            bool isCommitted = false;
            try
            {
                T result = body(transaction);
                isCommitted = true;
                return result;
            }
            finally
            {
                transaction.End(isCommitted);
            }
        }

        internal void Publish(IEnumerable<FakeMessage> messages) => published.AddRange(messages);

        /// <summary>What a caller sees of what a handler throws.</summary>
        internal static T Rejecting<T>(Func<T> call)
        {
            try
            {
                return call();
            }
            catch (RecoilException refusal)
            {
                throw new RecoilException(refusal.Message);
            }
            catch (Exception mistake)
            {
                throw new RecoilException(ErrorKind.Rejected, mistake.GetType().FullName + ": " + mistake.Message, mistake);
            }
        }
    }
}
