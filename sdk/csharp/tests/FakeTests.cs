using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Recoil;
using Recoil.Fake;
using Recoil.Testing;

public class FakeTests
{
    private static readonly byte[] Row = Utf8("row");

    private readonly Rows app = new Rows();
    private readonly FakePartition partition = new FakePartition();

    /// <summary>Writes its request to a row, publishes it and sets a timer; refuses "bad".</summary>
    private sealed class Rows : IHandler, ITimer
    {
        public byte[] Handle(Transaction transaction, byte[] request)
        {
            if (!transaction.IsReadOnly)
            {
                transaction.Put(Row, request);
                transaction.Publish(Utf8("topic"), request);
                transaction.SetTimer(Utf8("timer"), transaction.Now + 10, request);
            }
            switch (Text(request))
            {
                case "bad": throw new RecoilException("refused");
                case "worse": throw new InvalidOperationException("broken");
                default: return transaction.Get(Row) ?? new byte[0];
            }
        }

        public void Fire(Transaction transaction, byte[] id, byte[] payload)
        {
            transaction.Put(id, payload);
            if (Text(payload) == "fails") throw new RecoilException("not yet");
        }
    }

    /// <summary>Writes what it is asked to, whatever the mode.</summary>
    private sealed class Writer : IHandler
    {
        public byte[] Handle(Transaction transaction, byte[] request)
        {
            transaction.Put(Row, request);
            return request;
        }
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static string Text(byte[] bytes) => bytes == null ? null : Encoding.UTF8.GetString(bytes);

    private static RoutedCall To(int partition, string request) => RoutedCall.ToPartition(partition, Utf8(request), Mode.Write);

    [Test]
    public void AFailureRollsEverythingBackAndIsRejected()
    {
        Assert.Equal("good", Text(partition.Write(app, Utf8("good"))));
        foreach (var (request, reason) in new[] { ("bad", "refused"), ("worse", "System.InvalidOperationException: broken") })
        {
            RecoilException failure = Assert.Throws<RecoilException>(() => partition.Write(app, Utf8(request)));
            Assert.Equal(ErrorKind.Rejected, failure.Kind);
            Assert.Equal(reason, failure.Reason);
        }
        Assert.Equal("good", Text(partition.Rows[Row]));
        Assert.Equal("good", Text(partition.Timers[Utf8("timer")].Payload));
        Assert.Equal(1, partition.Published.Count);
        Assert.Equal("good", Text(partition.Read(app, Utf8("read"))));
    }

    [Test]
    public void TimersFireWhenTheyAreDueAndAgainAfterAFailure()
    {
        partition.Write(app, Utf8("good"));
        Assert.Equal(0, partition.Advance(app, 9));
        Assert.Equal(1, partition.Advance(app, 1));
        Assert.Equal("good", Text(partition.Rows[Utf8("timer")]));
        Assert.Equal(0, partition.Timers.Count);
        partition.Write(app, Utf8("fails"));
        Assert.Equal(1, partition.Advance(app, 100));
        Assert.Equal("good", Text(partition.Rows[Utf8("timer")]), "a failed timer writes nothing");
        Assert.Equal(1, partition.Timers.Count);
    }

    [Test]
    public void AReadRefusesWritesAndLimitsHold()
    {
        Assert.True(Assert.Throws<RecoilException>(() => partition.Read(new Writer(), Row)).Reason.Contains("read-only"));
        FakeTransaction transaction = partition.Begin();
        Assert.Equal(ErrorKind.TooLarge, Assert.Throws<RecoilException>(() => transaction.Put(Row, new byte[(8 << 20) + 1])).Kind);
        transaction.Put(Row, new byte[8 << 20]);
        Assert.Throws<RecoilException>(() => transaction.Put(Utf8("other"), new byte[8 << 20]));
        transaction.End(false);
        Assert.Equal(0, partition.Rows.Count);
    }

    [Test]
    public void EntriesPageThroughEverythingOnceInBothDirections()
    {
        partition.PageEntries = 7;
        for (int i = 0; i < 2000; i++) partition.Rows.Add(Utf8(i.ToString("D4")), new byte[0]);
        var within = new KeyRange(Utf8("0010"), Utf8("1900"));
        string[] expected = Enumerable.Range(10, 1890).Select(i => i.ToString("D4")).ToArray();
        Assert.Equal(expected, partition.View().Entries(within).Select(entry => Text(entry.Key)).ToArray());
        Assert.Equal(expected.Reverse().ToArray(), partition.View().Entries(within, reverse: true).Select(entry => Text(entry.Key)).ToArray());
        Assert.Equal(Utf8("b"), KeyRange.Prefix(new byte[] { 97, 255, 255 }).End);
        Assert.Null(KeyRange.Prefix(new byte[] { 255 }).End);
        Assert.Equal(0, KeyRange.All.Start.Length);
    }

    [Test]
    public void ATransactionIsAllOrNothingAndWithinOneGroup()
    {
        var cluster = new FakeCluster(app, 6, 3);
        using Subscription subscription = cluster.Subscribe(Utf8("topic"));
        Assert.Equal(2, cluster.Transact(new[] { To(1, "a"), To(4, "b") }).Count);
        Assert.Throws<RecoilException>(() => cluster.Transact(new[] { To(1, "c"), To(4, "bad") }));
        RecoilException spans = Assert.Throws<RecoilException>(() => cluster.Transact(new[] { To(1, "c"), To(2, "c") }));
        Assert.True(spans.Reason.Contains("[1, 2]"), spans.Reason);
        Assert.Equal("a", Text(cluster.Partition(1).Rows[Row]));
        Assert.Equal("b", Text(cluster.Partition(4).Rows[Row]));
        Assert.Equal("a", Text(subscription.Next(TimeSpan.Zero)));
        Assert.Equal("b", Text(subscription.Next(TimeSpan.Zero)));
        Assert.Null(subscription.Next(TimeSpan.Zero), "a transaction that was rolled back publishes nothing");
    }

    [Test]
    public void CallsGoToTheirPartitionAndFailByThemselves()
    {
        var cluster = new FakeCluster(app, 4, 2);
        byte[] key = Utf8("some key");
        cluster.Call(RoutedCall.Write(key, Utf8("v")));
        int owner = cluster.Locate(key).Id;
        int other = (owner + 1) % 4;
        cluster.FailPartition(other, new RecoilException(ErrorKind.Unavailable, "gone"));
        IReadOnlyList<Answer> answers = cluster.Scatter(new byte[0], Mode.Read);
        Assert.Equal(ErrorKind.Unavailable, answers[other].Error.Kind);
        Assert.Equal("v", Text(answers[owner].Value));
        Assert.Throws<RecoilException>(() => cluster.Call(To(4, "")));
        cluster.FailPartition(other, null);
        cluster.Storage.Put(Utf8("k"), Utf8("1"));
        Assert.Equal("1", Text(cluster.Storage.Get(Utf8("k"))));
        Assert.Equal(2, cluster.Storage.Scan(KeyRange.All, 10).Count);
        Pending pending = cluster.Submit(RoutedCall.Read(key, new byte[0]));
        Assert.Equal("v", Text(cluster.WaitAll(new[] { pending })[0].Value));
        Assert.Throws<ObjectDisposedException>(() => pending.Wait());
    }

    [Test]
    public void AConnectionIsAlsoAStream()
    {
        var connection = new FakeConnection("one", "two");
        Stream stream = connection.GetStream();
        Assert.Equal("onetwo", new StreamReader(stream).ReadToEnd());
        using (var writer = new StreamWriter(stream))
        {
            writer.Write('a');
            writer.Write("bc");
        }
        Assert.Equal("abc", connection.Text);
        Assert.Equal(1, connection.Writes);
        Assert.True(connection.WaitAny(new Subscription[0], TimeSpan.Zero).Value.IsReadable);
    }
}
