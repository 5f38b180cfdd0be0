#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using System.Security.Cryptography;
using Recoil;

namespace Conformance
{
    /// <summary>Commands that run anywhere: in a handler on its partition, in a listener on all of them.</summary>
    internal static class Anywhere
    {
        public static readonly IReadOnlyCollection<byte[]> Nothing = Array.Empty<byte[]>();

        /// <summary>Runs a command on this storage; null if it is not one of these.</summary>
        public static IReadOnlyCollection<byte[]>? Run(Storage storage, string command, Arguments arguments)
        {
            try
            {
                return RunUnchecked(storage, command, arguments);
            }
            catch (RecoilException error)
            {
                throw Refusal.Of(error);
            }
        }

        private static IReadOnlyCollection<byte[]>? RunUnchecked(Storage storage, string command, Arguments arguments)
        {
            switch (command)
            {
                case "echo":
                    return arguments.Rest();
                case "get":
                    return Optional(storage.Get(arguments.Bytes()));
                case "get-many":
                    return storage.GetMany(arguments.Rest()).Select(Wire.Option).ToList();
                case "put":
                    storage.Put(arguments.Bytes(), arguments.Bytes());
                    return Nothing;
                case "put-many":
                    storage.PutMany(arguments.Pairs());
                    return Nothing;
                case "remove":
                    storage.Remove(arguments.Bytes());
                    return Nothing;
                case "bump":
                    byte[] key = arguments.Bytes();
                    byte[]? before = storage.Get(key);
                    storage.Put(key, arguments.Bytes());
                    return new[] { Wire.Option(before) };
                case "remove-range":
                    storage.RemoveRange(arguments.Range());
                    return Nothing;
                case "scan":
                    return Flat(storage.Scan(arguments.Range(), arguments.Count(), arguments.Truth()));
                case "log":
                    Log.Write(arguments.Name<LogLevel>(), arguments.Text());
                    return Nothing;
                case "print":
                    Console.WriteLine(arguments.Text());
                    return Nothing;
                case "setting":
                    string? value = Settings.Text(arguments.Text());
                    return Optional(value == null ? null : Wire.Utf8(value));
                case "churn":
                    return Wire.Texts(Churn(arguments.Count()));
                case "clock":
                    return Wire.Texts((DateTime.UtcNow - DateTime.UnixEpoch).Ticks / (TimeSpan.TicksPerMillisecond / 1000));
                case "random":
                    byte[] random = new byte[16];
                    RandomNumberGenerator.Fill(random);
                    return new[] { random };
                default:
                    return null;
            }
        }

        private static IReadOnlyCollection<byte[]> Optional(byte[]? value) => value == null ? Nothing : new[] { value };

        private static List<byte[]> Flat(IReadOnlyList<Entry> entries)
        {
            var items = new List<byte[]>(2 * entries.Count);
            foreach (var (key, value) in entries)
            {
                items.Add(key);
                items.Add(value);
            }
            return items;
        }

        /// <summary>Many small objects, all of them alive at once.</summary>
        private static long Churn(int count)
        {
            List<string> texts = Enumerable.Range(0, count).Select(i => i.ToString()).ToList();
            return texts.Sum(text => (long)text.Length);
        }
    }
}
