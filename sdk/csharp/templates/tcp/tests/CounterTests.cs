using App;
using Recoil.Fake;
using Recoil.Testing;

public class CounterTests
{
    [Test]
    public void WordsAreCountedWhereverTheyLive()
    {
        var counter = new Counter();
        var cluster = new FakeCluster(counter, partitions: 8, groups: 3); // in memory
        var connection = new FakeConnection("pear\nap", "ple\npear\n");
        counter.Serve(connection, cluster);
        Assert.Equal("1\n1\n2\n", connection.Text);
    }
}
