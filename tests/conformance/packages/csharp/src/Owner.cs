#nullable enable
using System;
using System.Collections.Generic;
using Recoil;

namespace Conformance
{
    /// <summary>
    /// What only a handler can do: its partition, time, timers, messages, its Raft group; and the ways in which a call can go wrong.
    /// </summary>
    internal static class Owner
    {
        /// <summary>Seen from outside, so that the loop that counts it is not taken away.</summary>
        public static volatile int Counter;

        public static IReadOnlyCollection<byte[]> Run(Transaction transaction, string command, Arguments arguments)
        {
            switch (command)
            {
                case "current":
                    PartitionPlace place = transaction.Place;
                    return Wire.Texts(place.Keyspace, place.Id, place.Count, place.Epoch);
                case "now":
                    return Wire.Texts(transaction.Now);
                case "is-read-only":
                    return Wire.Texts(transaction.IsReadOnly ? "true" : "false");
                case "set-timer":
                    byte[] id = arguments.Bytes();
                    long at = transaction.Now + arguments.Number(1L << 52);
                    transaction.SetTimer(id, at, arguments.Bytes());
                    return Anywhere.Nothing;
                case "cancel-timer":
                    transaction.CancelTimer(arguments.Bytes());
                    return Anywhere.Nothing;
                case "publish":
                    transaction.Publish(arguments.Bytes(), arguments.Bytes());
                    return Anywhere.Nothing;
                case "status":
                    GroupStatus status = Consensus.Status();
                    return Wire.Texts(Wire.Kebab(status.Role.ToString()), status.Term, status.Committed, status.Applied, status.Voters.Count);
                case "barrier":
                    return Wire.Texts(Barrier());
                case "put-and-fail":
                    transaction.Put(arguments.Bytes(), arguments.Bytes());
                    throw new RecoilException(arguments.Text());
                case "put-and-throw":
                    transaction.Put(arguments.Bytes(), arguments.Bytes());
                    throw new InvalidOperationException(arguments.Text());
                case "trap":
                    Environment.FailFast("asked to trap");
                    return Anywhere.Nothing;
                case "loop":
                    Loop();
                    return Anywhere.Nothing;
                case "bomb":
                    for (var taken = new List<byte[]>(); ;) taken.Add(new byte[1 << 20]);
                case "recurse":
                    return Wire.Texts(Recurse(0));
                default:
                    throw Refusal.Invalid($"there is no command '{command}' here");
            }
        }

        /// <summary>Never ends.</summary>
        public static void Loop()
        {
            while (true) Counter++;
        }

        private static long Barrier()
        {
            try
            {
                return Consensus.Barrier();
            }
            catch (RecoilException lost)
            {
                throw Refusal.Of(lost);
            }
        }

        private static long Recurse(int depth)
        {
            Counter = depth;
            return Recurse(depth + 1) + 1;
        }
    }
}
