using System.Collections.Generic;
using System.Linq;
using Recoil;
using Recoil.Testing;

/// <summary>A scheduler is tested as an author would: with views made by hand.</summary>
public class SchedulerTests
{
    private static readonly Load Idle = new Load(0, 0, 0, 0);

    /// <summary>Places partitions that have no replicas on the nodes with the most room in their zone, and leaves all others.</summary>
    private sealed class Roomiest : IScheduler
    {
        public IReadOnlyList<Placement> Plan(View view)
            => view.Partitions.Where(partition => partition.Replicas.Count == 0).Select(partition => Place(view, partition)).ToList();

        private static Placement Place(View view, Partition partition)
        {
            Rule rule = view.Rules.FirstOrDefault(rule => rule.Keyspace == partition.Keyspace)
                ?? throw new RecoilException($"no rule for keyspace {partition.Keyspace}");
            IEnumerable<Node> nodes = view.Nodes
                .Where(node => node.State == NodeState.Live && rule.Required.All(label => node.Locality.Contains(label)))
                .OrderByDescending(node => node.CapacityBytes - node.UsedBytes).Take(rule.Replication);
            return new Placement(partition.Keyspace, partition.Id, nodes.Select(node => node.Id).ToList(), "the most room");
        }
    }

    private static Node InZone(string zone, int id, NodeState state, ulong usedBytes)
        => new Node(id, state, new[] { ("zone", zone) }, ulong.MaxValue, usedBytes, 0.5f);

    private static View Of(int keyspace, params int[] replicas)
    {
        var nodes = new[]
        {
            InZone("a", 1, NodeState.Live, 20), InZone("a", 2, NodeState.Down, 0), InZone("b", 3, NodeState.Live, 0),
            InZone("a", 4, NodeState.Live, 10),
        };
        var rule = new Rule(7, 2, new[] { ("zone", "a") }, new string[0], new (string, string)[0]);
        return new View(nodes, new[] { rule }, new[] { new Partition(keyspace, 5, replicas, Idle) });
    }

    [Test]
    public void APlanIsAFunctionOfItsView()
    {
        var scheduler = new Roomiest();
        Placement placement = scheduler.Plan(Of(7)).Single();
        Assert.Equal((7, 5, "the most room"), (placement.Keyspace, placement.Id, placement.Reason));
        Assert.Equal(new[] { 4, 1 }, placement.Replicas);
        Assert.Equal(0, scheduler.Plan(Of(7, 1, 2)).Count);
        Assert.Equal("no rule for keyspace 8", Assert.Throws<RecoilException>(() => scheduler.Plan(Of(8))).Reason);
    }
}
