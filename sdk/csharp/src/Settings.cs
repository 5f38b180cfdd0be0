#nullable enable
using System.Globalization;
using Recoil.Runtime;

namespace Recoil
{
    /// <summary>
    /// What the operator has set for this app: the manifest's defaults, and what <c>recoilctl set</c> changed. In a test there is no
    /// manifest: <c>Recoil.Fake.FakeSettings</c> gives values.
    /// </summary>
    public static class Settings
    {
        /// <summary>The value of a setting, as text; null if the manifest has no such setting.</summary>
        public static string? Text(string name) => Host.Setting(name);

        /// <summary>The value of a setting whose default is a whole number; null if there is none.</summary>
        public static long? Number(string name)
            => Text(name) is string text ? long.Parse(text, CultureInfo.InvariantCulture) : (long?)null;

        /// <summary>The value of a setting whose default is true or false; null if there is none.</summary>
        public static bool? Truth(string name) => Text(name) is string text ? text == "true" : (bool?)null;
    }
}
