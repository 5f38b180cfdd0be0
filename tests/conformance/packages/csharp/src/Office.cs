#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Recoil;

namespace Conformance
{
    /// <summary>Commands for operators: they reach the data by calls of the handler, and print what they were given.</summary>
    internal static class Office
    {
        public static readonly Command[] Commands =
        {
            new Command("key put", "KEY VALUE", "Put a value at a key."),
            new Command("key get", "KEY", "Print the value of a key."),
            new Command("echo", "WORDS…", "Print the words, each in brackets: [größe]."),
            new Command("fail", "TEXT", "Refuse, for this reason."),
            new Command("throw", "TEXT", "Throw an exception."),
        };

        public static string Run(IReadOnlyList<string> typed, Router router)
        {
            switch (typed.FirstOrDefault())
            {
                case "key" when typed.Count == 4 && typed[1] == "put":
                    Call(router, Mode.Write, typed.Skip(1).ToArray());
                    return "";
                case "key" when typed.Count == 3 && typed[1] == "get":
                    byte[]? value = Call(router, Mode.Read, typed.Skip(1).ToArray()).FirstOrDefault();
                    return value == null ? throw new RecoilException("no such key") : Encoding.UTF8.GetString(value);
                case "echo":
                    return string.Concat(typed.Skip(1).Select(word => $"[{word}]"));
                case "fail" when typed.Count == 2:
                    throw new RecoilException(typed[1]);
                case "throw" when typed.Count == 2:
                    throw new InvalidOperationException(typed[1]);
                default:
                    throw new RecoilException("no such command");
            }
        }

        /// <summary>What the handler answers to a command whose first argument is the key.</summary>
        private static List<byte[]> Call(Router router, Mode mode, string[] command)
            => Wire.Decode(router.Call(RoutedCall.ToOwner(Wire.Utf8(command[1]), Wire.Encode(Array.ConvertAll(command, Wire.Utf8)), mode)));
    }
}
