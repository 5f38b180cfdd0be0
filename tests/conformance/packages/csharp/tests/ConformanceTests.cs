using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Conformance;
using Recoil;
using Recoil.Fake;
using Recoil.Testing;

/// <summary>What all languages must do is the suite's business; this is what an author looks at first.</summary>
public class ConformanceTests
{
    private readonly App app = new App();
    private readonly FakeCluster cluster;

    public ConformanceTests() => cluster = new FakeCluster(app, 8, 3);

    private static byte[] List(params string[] items) => Wire.Encode(Array.ConvertAll(items, Wire.Utf8));

    /// <summary>A request that the handler of the key's partition shall run.</summary>
    private static byte[] Call(params string[] request)
        => Wire.Encode(new[] { Wire.Utf8("call"), Wire.Utf8("write"), Wire.Utf8("k"), List(request) });

    private static byte[] Ok(params string[] items) => List(items).Prepend((byte)0).ToArray();

    private static byte[] Frames(params byte[][] bodies)
    {
        var frames = new MemoryStream();
        byte[] length = new byte[4];
        foreach (byte[] body in bodies)
        {
            BinaryPrimitives.WriteInt32BigEndian(length, body.Length);
            frames.Write(length);
            frames.Write(body);
        }
        return frames.ToArray();
    }

    private static byte[][] Pieces(byte[] bytes, int size)
        => Enumerable.Range(0, (bytes.Length + size - 1) / size).Select(i => bytes.Skip(i * size).Take(size).ToArray()).ToArray();

    private List<string> Ask(byte[] request)
    {
        byte[] answer = app.Respond(new HttpRequest("POST", "/call").WithBody(request), cluster).Body;
        return Wire.Decode(answer.AsSpan(1).ToArray()).ConvertAll(Encoding.UTF8.GetString);
    }

    [Test]
    public void FramesMayComeInAnyPieces()
    {
        byte[] input = Frames(Call("put", "a", "1"), Call("bump", "a", "2"), Call("get", "a"));
        byte[] output = Frames(Ok(), Ok("+1"), Ok("2"));
        foreach (int size in new[] { 1, 3, input.Length })
        {
            var connection = new FakeConnection(Pieces(input, size));
            app.Serve(connection, new FakeCluster(app, 8, 3));
            Assert.Equal(output, connection.Output);
        }
        var tooLong = new FakeConnection(new byte[] { 255, 255, 255, 255 });
        Assert.Equal("a frame of 4294967295 bytes: at most 16777216 are taken",
            Assert.Throws<RecoilException>(() => app.Serve(tooLong, cluster)).Reason);
    }

    [Test]
    public void WhatIsWrongIsSaidAndNothingIsWritten()
    {
        Assert.Equal(new[] { "rejected", "no" }, Ask(Call("put-and-fail", "a", "1", "no")).ToArray());
        Assert.Equal(new[] { "rejected", "invalid: too few arguments" }, Ask(Call("put", "a")).ToArray());
        Assert.Equal(new[] { "rejected", "invalid: there is no command 'locate' here" }, Ask(Call("locate", "a")).ToArray());
        Assert.Equal("invalid", Ask(new byte[3])[0]);
        Assert.Equal("invalid", Ask(List("subscribe", "topic"))[0]);
        Assert.Equal(0, Ask(Call("get", "a")).Count);
    }

    [Test]
    public void ACommandGetsWhatAnotherHasPut()
    {
        Assert.Equal("", app.Run(new[] { "key", "put", "größe", "7" }, cluster));
        Assert.Equal("7", app.Run(new[] { "key", "get", "größe" }, cluster));
        Assert.Equal("[größe][][a b]", app.Run(new[] { "echo", "größe", "", "a b" }, cluster));
        string Refusal(params string[] typed) => Assert.Throws<RecoilException>(() => app.Run(typed, cluster)).Reason;
        Assert.Equal("no such key", Refusal("key", "get", "absent"));
        Assert.Equal("no", Refusal("fail", "no"));
        foreach (var typed in new[] { new string[0], new[] { "key" }, new[] { "key", "put", "k" } })
            Assert.Equal("no such command", Refusal(typed));
    }

    [Test]
    public void APlanHasLiveReplicasFirstAndTellsWhatItWasShown()
    {
        var down = new Node(1, NodeState.Down, new[] { ("zone", "a") }, ulong.MaxValue, 5, 0.5f);
        var live = new Node(2, NodeState.Live, new (string, string)[0], 0, 0, 0);
        var load = new Load(1.5f, 0, 0, 7);
        var partitions = new[] { new Partition(3, 4, new[] { 1, 2 }, load), new Partition(3, 5, new[] { 2, 1 }, load) };
        Placement placement = app.Plan(new View(new[] { down, live }, new Rule[0], partitions)).Single();
        Assert.Equal((3, 4), (placement.Keyspace, placement.Id));
        Assert.Equal(new[] { 2, 1 }, placement.Replicas);
        Assert.Equal("node 1 down zone=a 5/18446744073709551615 500; rule none; load 1500 0 0 7", placement.Reason);
        var nothing = new View(new Node[0], new Rule[0], new Partition[0]);
        Assert.Equal("no nodes", Assert.Throws<RecoilException>(() => app.Plan(nothing)).Reason);
    }

    [Test]
    public void NamesAreTheContracts()
    {
        Assert.Equal("stale-read", Wire.Kebab(nameof(Mode.StaleRead)));
        Assert.Equal("unknown-outcome", Wire.Kebab(nameof(ErrorKind.UnknownOutcome)));
    }
}
