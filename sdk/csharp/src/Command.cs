#nullable enable
namespace Recoil
{
    /// <summary>A command for operators, as recoilctl lists it.</summary>
    public sealed class Command
    {
        /// <summary>A command.</summary>
        public Command(string words, string usage, string help)
        {
            Words = words;
            Usage = usage;
            Help = help;
        }

        /// <summary>The words by which it is called, with spaces between them, such as <c>key create</c>.</summary>
        public string Words { get; }

        /// <summary>What follows them, such as <c>NAME [--bucket BUCKET]</c>.</summary>
        public string Usage { get; }

        /// <summary>What it does: one sentence for an operator.</summary>
        public string Help { get; }
    }
}
