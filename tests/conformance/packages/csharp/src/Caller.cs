#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using Recoil;

namespace Conformance
{
    /// <summary>What only a listener can do: calling partitions, and asking where they are.</summary>
    internal static class Caller
    {
        /// <summary>Runs a command that needs no connection. <paramref name="peer"/> is the client.</summary>
        public static IReadOnlyCollection<byte[]> Run(Router router, string peer, string command, Arguments arguments)
        {
            IReadOnlyCollection<byte[]>? answer = Anywhere.Run(router.Storage, command, arguments);
            if (answer != null) return answer;
            Mode mode;
            switch (command)
            {
                case "call":
                    mode = arguments.Name<Mode>();
                    return Wire.Decode(router.Call(RoutedCall.ToOwner(arguments.Bytes(), arguments.Bytes(), mode)));
                case "call-partition":
                    mode = arguments.Name<Mode>();
                    return Wire.Decode(router.Call(RoutedCall.ToPartition(arguments.Count(), arguments.Bytes(), mode)));
                case "call-many":
                    return Answers(router.CallMany(Calls(arguments.Name<Mode>(), arguments)));
                case "submit":
                    return Answers(router.WaitAll(Calls(arguments.Name<Mode>(), arguments).Select(router.Submit).ToList()));
                case "leave":
                    int count = arguments.Count();
                    RoutedCall call = RoutedCall.Write(arguments.Bytes(), arguments.Bytes());
                    for (int i = 0; i < count; i++) router.Submit(call);
                    return Anywhere.Nothing;
                case "transact":
                    return router.Transact(Calls(Mode.Write, arguments));
                case "scatter":
                    mode = arguments.Name<Mode>();
                    return Answers(router.Scatter(arguments.Bytes(), mode));
                case "locate":
                    return Place(router.Locate(arguments.Bytes()));
                case "partitions":
                    return Wire.Texts(router.Partitions().Count);
                case "peer":
                    return Wire.Texts(peer);
                default:
                    throw Refusal.Invalid($"there is no command '{command}' here");
            }
        }

        private static List<RoutedCall> Calls(Mode mode, Arguments arguments)
            => arguments.Pairs().Select(pair => RoutedCall.ToOwner(pair.Key, pair.Value, mode)).ToList();

        private static List<byte[]> Answers(IReadOnlyList<Answer> answers) => answers.Select(Wire.Answer).ToList();

        private static byte[][] Place(PartitionInfo partition)
        {
            byte[]? leader = partition.Leader is int member ? Wire.Utf8(member.ToString()) : null;
            byte[][] place = Wire.Texts(partition.Id, "", string.Join(",", partition.Replicas), partition.Epoch);
            place[1] = Wire.Option(leader);
            return place;
        }
    }
}
