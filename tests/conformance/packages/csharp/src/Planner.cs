#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using Recoil;

namespace Conformance
{
    /// <summary>Plans that tell what the scheduler was shown: live replicas first, and all that a view says in the reasons.</summary>
    internal sealed class Planner
    {
        /// <summary>A rule with this replication is an order to go wrong: its keyspace says how.</summary>
        private const int Order = 255;
        private const int ReplicationDefault = 3;

        private readonly Dictionary<int, Node> nodes = new Dictionary<int, Node>();
        private readonly Dictionary<int, Rule> rules = new Dictionary<int, Rule>();
        private readonly int[] live;

        // What reasons say of them: made once, for there are many partitions.
        private readonly Dictionary<int, string> nodeTexts;
        private readonly Dictionary<int, string> ruleTexts;

        private Planner(View view)
        {
            foreach (Node node in view.Nodes) nodes.TryAdd(node.Id, node);
            foreach (Rule rule in view.Rules) rules.TryAdd(rule.Keyspace, rule);
            nodeTexts = nodes.ToDictionary(pair => pair.Key, pair => Text(pair.Value));
            ruleTexts = rules.ToDictionary(pair => pair.Key, pair => Text(pair.Value));
            live = view.Nodes.Where(node => node.State == NodeState.Live).Select(node => node.Id).ToArray();
        }

        public static IReadOnlyList<Placement> Plan(View view)
        {
            if (view.Nodes.Count == 0) throw new RecoilException("no nodes");
            foreach (Rule rule in view.Rules.Where(rule => rule.Replication == Order)) GoWrong(rule.Keyspace);
            var planner = new Planner(view);
            var plan = new List<Placement>();
            foreach (Partition partition in view.Partitions)
            {
                List<int> wanted = planner.Wanted(partition);
                if (partition.Replicas.Count == 0 || !wanted.SequenceEqual(partition.Replicas))
                    plan.Add(new Placement(partition.Keyspace, partition.Id, wanted, planner.Reason(partition, wanted)));
            }
            return plan;
        }

        private static void GoWrong(int how)
        {
            switch (how)
            {
                case 1: throw new InvalidOperationException("thrown while planning");
                case 2:
                    Owner.Loop();
                    break;
                default: throw new RecoilException($"there is no order {how}");
            }
        }

        private List<int> Wanted(Partition partition)
        {
            IReadOnlyList<int> replicas = partition.Replicas;
            if (replicas.Count > 0) return replicas.Where(IsLive).Concat(replicas.Where(id => !IsLive(id))).ToList();
            int replication = rules.TryGetValue(partition.Keyspace, out Rule? rule) ? rule.Replication : ReplicationDefault;
            return Enumerable.Range(0, Math.Min(replication, live.Length))
                .Select(place => live[(partition.Id % live.Length + place) % live.Length]).ToList();
        }

        private bool IsLive(int id) => nodes.TryGetValue(id, out Node? node) && node.State == NodeState.Live;

        private string Reason(Partition partition, List<int> wanted)
        {
            IReadOnlyList<int> replicas = partition.Replicas.Count == 0 ? wanted : partition.Replicas;
            string node = replicas.Count == 0 ? "node none" : nodeTexts.GetValueOrDefault(replicas[0]) ?? $"node {replicas[0]} unknown";
            return $"{node}; {ruleTexts.GetValueOrDefault(partition.Keyspace) ?? "rule none"}; {Text(partition.Load)}";
        }

        private static string Text(Node node)
        {
            string place = $"{Wire.Kebab(node.State.ToString())} {Text(node.Locality)}";
            return $"node {node.Id} {place} {node.UsedBytes}/{node.CapacityBytes} {Thousandths(node.CpuLoad)}";
        }

        private static string Text(Rule rule)
            => $"rule {rule.Replication} {Text(rule.Required)} {Text(rule.SpreadBy)} {Text(rule.LeaderPreference)}";

        private static string Text(Load load)
        {
            string rates = $"{Thousandths(load.ReadsPerSecond)} {Thousandths(load.WritesPerSecond)} {Thousandths(load.CpuSecondsPerSecond)}";
            return $"load {rates} {load.Bytes}";
        }

        private static string Text(IReadOnlyList<(string Key, string Value)> labels)
            => Text(labels.Select(label => $"{label.Key}={label.Value}").ToList());

        private static string Text(IReadOnlyList<string> texts) => texts.Count == 0 ? "-" : string.Join(",", texts);

        private static long Thousandths(float value) => (long)(value * 1000.0);
    }
}
