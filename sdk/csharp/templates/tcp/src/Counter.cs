using System.Buffers.Binary;
using System.IO;
using System.Text;
using Recoil;
using Recoil.Fake;

namespace App
{
    /// <summary>Counts words: each line it is sent is answered with how often it was sent.</summary>
    public sealed class Counter : IHandler, IListener, IRehearsed
    {
        /// <summary>Bytes of a line.</summary>
        private const int LineBytesMax = 64 << 10;

        /// <summary>Runs on the leader of the word's partition. Every request is a transaction.</summary>
        public byte[] Handle(Transaction transaction, byte[] word)
        {
            byte[] value = transaction.Get(word);
            long seen = value == null ? 1 : BinaryPrimitives.ReadInt64BigEndian(value) + 1;
            value = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(value, seen);
            transaction.Put(word, value);
            return Encoding.UTF8.GetBytes(seen.ToString());
        }

        /// <summary>Runs for each connection, on the node that the client has found; blocks as a thread would.</summary>
        public void Serve(Connection connection, Router router)
        {
            Stream input = connection.GetStream();
            for (string line = ReadLine(input); line != null; line = ReadLine(input))
            {
                byte[] word = Encoding.UTF8.GetBytes(line.Trim());
                string count = Encoding.UTF8.GetString(router.Call(RoutedCall.Write(word, word)));
                connection.Write(Encoding.UTF8.GetBytes(count + "\n"));
            }
        }

        /// <summary>Runs while the component is made, so that no connection waits for what is done for the first time.</summary>
        public void Rehearse() => Serve(new FakeConnection("pear\n"), new FakeCluster(this, partitions: 1, groups: 1));

        /// <summary>The next line, without its end; null if the stream ends before it.</summary>
        private static string ReadLine(Stream input)
        {
            var line = new MemoryStream();
            for (int next = input.ReadByte(); next != '\n'; next = input.ReadByte())
            {
                if (next < 0) return null;
                if (line.Length == LineBytesMax) throw new RecoilException($"a line of more than {LineBytesMax} bytes");
                line.WriteByte((byte)next);
            }
            return Encoding.UTF8.GetString(line.ToArray());
        }
    }
}
