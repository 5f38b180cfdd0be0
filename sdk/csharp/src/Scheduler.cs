#nullable enable
using System.Collections.Generic;

namespace Recoil
{
    /// <summary>All that a plan is made of.</summary>
    public sealed class View
    {
        /// <summary>A view.</summary>
        public View(IReadOnlyList<Node> nodes, IReadOnlyList<Rule> rules, IReadOnlyList<Partition> partitions)
        {
            Nodes = nodes;
            Rules = rules;
            Partitions = partitions;
        }

        /// <summary>The cluster's nodes.</summary>
        public IReadOnlyList<Node> Nodes { get; }

        /// <summary>What holds for keyspaces.</summary>
        public IReadOnlyList<Rule> Rules { get; }

        /// <summary>The partitions, and where they are now.</summary>
        public IReadOnlyList<Partition> Partitions { get; }
    }

    /// <summary>What a node is to the cluster.</summary>
    public enum NodeState
    {
        /// <summary>It serves.</summary>
        Live,
        /// <summary>It serves, and gives up what it has.</summary>
        Draining,
        /// <summary>It does not answer.</summary>
        Down,
    }

    /// <summary>A node.</summary>
    public sealed class Node
    {
        /// <summary>A node.</summary>
        public Node(int id, NodeState state, IReadOnlyList<(string Key, string Value)> locality, ulong capacityBytes, ulong usedBytes,
            float cpuLoad)
        {
            Id = id;
            State = state;
            Locality = locality;
            CapacityBytes = capacityBytes;
            UsedBytes = usedBytes;
            CpuLoad = cpuLoad;
        }

        /// <summary>Its member number, a small counter.</summary>
        public int Id { get; }

        /// <summary>Whether it serves.</summary>
        public NodeState State { get; }

        /// <summary>Where it stands, such as <c>zone</c> and <c>eu-1</c>.</summary>
        public IReadOnlyList<(string Key, string Value)> Locality { get; }

        /// <summary>What it can hold.</summary>
        public ulong CapacityBytes { get; }

        /// <summary>What it holds.</summary>
        public ulong UsedBytes { get; }

        /// <summary>Processors at work.</summary>
        public float CpuLoad { get; }
    }

    /// <summary>What a partition costs.</summary>
    public sealed class Load
    {
        /// <summary>A load.</summary>
        public Load(float readsPerSecond, float writesPerSecond, float cpuSecondsPerSecond, ulong bytes)
        {
            ReadsPerSecond = readsPerSecond;
            WritesPerSecond = writesPerSecond;
            CpuSecondsPerSecond = cpuSecondsPerSecond;
            Bytes = bytes;
        }

        /// <summary>Reads in a second.</summary>
        public float ReadsPerSecond { get; }

        /// <summary>Writes in a second.</summary>
        public float WritesPerSecond { get; }

        /// <summary>Processors at work for it.</summary>
        public float CpuSecondsPerSecond { get; }

        /// <summary>What it holds.</summary>
        public ulong Bytes { get; }
    }

    /// <summary>A partition and where it is now.</summary>
    public sealed class Partition
    {
        /// <summary>A partition.</summary>
        public Partition(int keyspace, int id, IReadOnlyList<int> replicas, Load load)
        {
            Keyspace = keyspace;
            Id = id;
            Replicas = replicas;
            Load = load;
        }

        /// <summary>The keyspace's number.</summary>
        public int Keyspace { get; }

        /// <summary>Which of the keyspace's partitions.</summary>
        public int Id { get; }

        /// <summary>Node numbers, the preferred leader's first; empty if it is nowhere yet.</summary>
        public IReadOnlyList<int> Replicas { get; }

        /// <summary>What it costs.</summary>
        public Load Load { get; }
    }

    /// <summary>What holds for a keyspace.</summary>
    public sealed class Rule
    {
        /// <summary>A rule.</summary>
        public Rule(int keyspace, int replication, IReadOnlyList<(string Key, string Value)> required, IReadOnlyList<string> spreadBy,
            IReadOnlyList<(string Key, string Value)> leaderPreference)
        {
            Keyspace = keyspace;
            Replication = replication;
            Required = required;
            SpreadBy = spreadBy;
            LeaderPreference = leaderPreference;
        }

        /// <summary>The keyspace's number.</summary>
        public int Keyspace { get; }

        /// <summary>Replicas of each partition.</summary>
        public int Replication { get; }

        /// <summary>What every replica's node must have in its locality.</summary>
        public IReadOnlyList<(string Key, string Value)> Required { get; }

        /// <summary>Keys of localities of which no two replicas of a partition should have the same value.</summary>
        public IReadOnlyList<string> SpreadBy { get; }

        /// <summary>What the leader's node should have in its locality, if one can.</summary>
        public IReadOnlyList<(string Key, string Value)> LeaderPreference { get; }
    }

    /// <summary>Where a partition should be.</summary>
    public sealed class Placement
    {
        /// <summary>A placement.</summary>
        public Placement(int keyspace, int id, IReadOnlyList<int> replicas, string reason)
        {
            Keyspace = keyspace;
            Id = id;
            Replicas = replicas;
            Reason = reason;
        }

        /// <summary>The keyspace's number.</summary>
        public int Keyspace { get; }

        /// <summary>Which of the keyspace's partitions.</summary>
        public int Id { get; }

        /// <summary>Node numbers, the preferred leader's first.</summary>
        public IReadOnlyList<int> Replicas { get; }

        /// <summary>Why, for operators.</summary>
        public string Reason { get; }
    }
}
