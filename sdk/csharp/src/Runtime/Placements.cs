#nullable enable
using System.Collections.Generic;
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>What the export <c>scheduler</c> is given and returns.</summary>
    internal static unsafe class Placements
    {
        // Bytes of the contract's records; a label is two strings.
        private const int NodeBytes = 40;
        private const int RuleBytes = 32;
        private const int PartitionBytes = 40;
        private const int LabelBytes = 2 * Abi.List;
        private const int PlacementBytes = 24;

        /// <summary>The view that an export's parameters are.</summary>
        internal static View View(long* parameters)
            => new View(Abi.Items(parameters[0], parameters[1], NodeBytes, Node), Abi.Items(parameters[2], parameters[3], RuleBytes, Rule),
                Abi.Items(parameters[4], parameters[5], PartitionBytes, Partition));

        private static Node Node(byte* at)
            => new Node(Abi.Number(at), (NodeState)at[4], Labels(at + 8), *(ulong*)(at + 16), *(ulong*)(at + 24), *(float*)(at + 32));

        private static Rule Rule(byte* at)
            => new Rule(Abi.Number(at), at[4], Labels(at + 8), Abi.Items(at + 16, Abi.List, Abi.Text), Labels(at + 24));

        private static Partition Partition(byte* at)
        {
            var load = new Load(*(float*)(at + 16), *(float*)(at + 20), *(float*)(at + 24), *(ulong*)(at + 32));
            return new Partition(Abi.Number(at), Abi.Number(at + 4), Abi.Numbers(at + 8), load);
        }

        private static (string Key, string Value)[] Labels(byte* at)
            => Abi.Items(at, LabelBytes, label => (Abi.Text(label), Abi.Text(label + Abi.List)));

        /// <summary>The <c>result</c> that a plan is; where it lies.</summary>
        internal static long Return(IReadOnlyList<Placement> plan)
        {
            var reasons = new byte[plan.Count][];
            long bytes = 0;
            for (int i = 0; i < reasons.Length; i++)
            {
                reasons[i] = Encoding.UTF8.GetBytes(plan[i].Reason);
                bytes += sizeof(int) * plan[i].Replicas.Count + reasons[i].Length;
            }
            var list = new Outgoing(PlacementBytes, reasons.Length, bytes);
            for (int i = 0; i < reasons.Length; i++)
            {
                byte* at = list.Items + PlacementBytes * i;
                *(int*)at = plan[i].Keyspace;
                *(int*)(at + 4) = plan[i].Id;
                list.Put(at + 8, plan[i].Replicas);
            }
            for (int i = 0; i < reasons.Length; i++) list.Put(list.Items + PlacementBytes * i + 16, reasons[i]);
            int* result = (int*)Guest.Returned;
            result[0] = 0;
            result[1] = (int)list.Items;
            result[2] = reasons.Length;
            return (int)result;
        }
    }
}
