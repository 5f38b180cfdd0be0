#nullable enable
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;

namespace Recoil.Fake
{
    /// <summary>
    /// A client that has already said everything it will say: its input is given beforehand, chunk by chunk, and its output is kept. Behind
    /// the last chunk the stream ends.
    /// </summary>
    public sealed class FakeConnection : Connection
    {
        private readonly LinkedList<byte[]> input;
        private readonly MemoryStream output = new MemoryStream();

        /// <summary>A client that sends these chunks, each of which one read returns if its limit allows.</summary>
        public FakeConnection(params byte[][] chunks) => input = new LinkedList<byte[]>(chunks.Where(chunk => chunk.Length > 0));

        /// <summary>The same, of texts.</summary>
        public FakeConnection(params string[] chunks) : this(Array.ConvertAll(chunks, Encoding.UTF8.GetBytes)) { }

        /// <summary>Everything written so far.</summary>
        public byte[] Output => output.ToArray();

        /// <summary>Everything written so far, as text.</summary>
        public string Text => Encoding.UTF8.GetString(Output);

        /// <summary>How often something was written.</summary>
        public int Writes { get; private set; }

        /// <inheritdoc/>
        public override string PeerAddress => "127.0.0.1:50312";

        /// <inheritdoc/>
        public override byte[] Read(int limit = ChunkBytes)
        {
            if (input.Count == 0) return Array.Empty<byte>();
            byte[] chunk = input.First!.Value;
            input.RemoveFirst();
            if (chunk.Length <= limit) return chunk;
            input.AddFirst(chunk.AsSpan(limit).ToArray());
            return chunk.AsSpan(0, limit).ToArray();
        }

        /// <inheritdoc/>
        public override void Write(ReadOnlySpan<byte> data)
        {
            output.Write(data);
            Writes++;
        }

        /// <inheritdoc/>
        public override ConnectionEvent? WaitAny(IReadOnlyList<Subscription> subscriptions, TimeSpan timeout)
        {
            for (int i = 0; i < subscriptions.Count; i++)
                if (((FakeSubscription)subscriptions[i]).HasMessage) return ConnectionEvent.Message(i);
            return ConnectionEvent.Readable;
        }
    }
}
