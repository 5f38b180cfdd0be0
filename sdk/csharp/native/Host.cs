#nullable enable
using System;
using System.Collections.Generic;
using Recoil.Fake;

namespace Recoil.Runtime
{
    /// <summary>What a package reaches without being given it, in a test.</summary>
    internal static class Host
    {
        internal static void Log(LogLevel level, string message) => Console.Error.WriteLine($"{level}: {message}");

        internal static string? Setting(string name) => FakeSettings.Get(name);

        internal static GroupStatus Status() => throw new NotSupportedException("there is no Raft group in a test");

        internal static long Barrier() => throw new NotSupportedException("there is no Raft group in a test");
    }
}
