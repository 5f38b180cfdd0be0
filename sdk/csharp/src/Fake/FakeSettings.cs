#nullable enable
using System.Collections.Generic;

namespace Recoil.Fake
{
    /// <summary>What <see cref="Settings"/> finds in a test.</summary>
    public static class FakeSettings
    {
        private static readonly Dictionary<string, string> Values = new Dictionary<string, string>();

        /// <summary>From now on the setting <paramref name="name"/> has this value.</summary>
        public static void Set(string name, string value) => Values[name] = value;

        /// <summary>From now on there are no settings.</summary>
        public static void Clear() => Values.Clear();

        /// <summary>The value of a setting; null if it was not set.</summary>
        public static string? Get(string name) => Values.TryGetValue(name, out string? value) ? value : null;
    }
}
