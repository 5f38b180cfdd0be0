#nullable enable
using System.Collections.Generic;
using Recoil.Runtime;

namespace Recoil
{
    /// <summary>What a replica is in its group.</summary>
    public enum GroupRole
    {
        /// <summary>Proposes and answers.</summary>
        Leader,
        /// <summary>Votes and follows.</summary>
        Follower,
        /// <summary>Follows without a vote.</summary>
        Learner,
    }

    /// <summary>What a replica knows of its group. Nodes are named by their member number, a small counter.</summary>
    public sealed class GroupStatus
    {
        internal GroupStatus(long group, GroupRole role, long term, int? leader, long committed, long applied, IReadOnlyList<int> voters)
        {
            Group = group;
            Role = role;
            Term = term;
            Leader = leader;
            Committed = committed;
            Applied = applied;
            Voters = voters;
        }

        /// <summary>The group's number.</summary>
        public long Group { get; }

        /// <summary>What this replica is.</summary>
        public GroupRole Role { get; }

        /// <summary>Raft's term.</summary>
        public long Term { get; }

        /// <summary>The node that leads; null during an election.</summary>
        public int? Leader { get; }

        /// <summary>Index of the last entry known to be on a quorum.</summary>
        public long Committed { get; }

        /// <summary>Index of the last entry that this replica has applied.</summary>
        public long Applied { get; }

        /// <summary>The nodes that vote.</summary>
        public IReadOnlyList<int> Voters { get; }
    }

    /// <summary>
    /// The Raft group behind a partition, for handlers that want more than transactions. These are the contract's functions as they are: a
    /// handler that uses them is tested on a cluster.
    /// </summary>
    public static class Consensus
    {
        /// <summary>What this replica knows of its group. Handlers only: it ends a listener's instance.</summary>
        public static GroupStatus Status() => Host.Status();

        /// <summary>
        /// Confirms with a quorum that this replica leads and has applied everything committed before the call; answers the applied index.
        /// <see cref="ErrorKind.Unavailable"/> if the leadership or the quorum was lost. Handlers only.
        /// </summary>
        public static long Barrier() => Host.Barrier();
    }
}
