#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>What the export <c>admin</c> returns for a list of commands.</summary>
    internal static unsafe class Commands
    {
        // Bytes of the contract's record: a list of words and two texts.
        private const int CommandBytes = 3 * Abi.List;

        /// <summary>The list that these commands are; where it lies.</summary>
        internal static long Return(IReadOnlyList<Command> commands)
        {
            var words = new byte[commands.Count][][];
            var texts = new (byte[] Usage, byte[] Help)[commands.Count];
            long bytes = 0;
            for (int i = 0; i < words.Length; i++)
            {
                string[] called = commands[i].Words.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                words[i] = Array.ConvertAll(called, Encoding.UTF8.GetBytes);
                texts[i] = (Encoding.UTF8.GetBytes(commands[i].Usage), Encoding.UTF8.GetBytes(commands[i].Help));
                bytes += words[i].Sum(word => Abi.List + (long)word.Length) + texts[i].Usage.Length + texts[i].Help.Length;
            }
            var list = new Outgoing(CommandBytes, words.Length, bytes);
            for (int i = 0; i < words.Length; i++) list.Reserve(list.Items + CommandBytes * i, Abi.List, words[i].Length);
            for (int i = 0; i < words.Length; i++)
            {
                byte* at = list.Items + CommandBytes * i;
                byte* its = (byte*)Abi.Number(at);
                for (int k = 0; k < words[i].Length; k++) list.Put(its + Abi.List * k, words[i][k]);
                list.Put(at + Abi.List, texts[i].Usage);
                list.Put(at + 2 * Abi.List, texts[i].Help);
            }
            int* result = (int*)Guest.Returned;
            result[0] = (int)list.Items;
            result[1] = words.Length;
            return (int)result;
        }
    }
}
