#nullable enable
using System;
using System.IO;

namespace Recoil
{
    /// <summary>A connection as a stream: one chunk of the host's at a time is read ahead, nothing is written late.</summary>
    internal sealed class ConnectionStream : Stream
    {
        private readonly Connection connection;
        private byte[] chunk = Array.Empty<byte>();
        private int next;
        private bool isEnded;

        internal ConnectionStream(Connection connection) => this.connection = connection;

        public override bool CanRead => true;
        public override bool CanWrite => true;
        public override bool CanSeek => false;
        public override long Length => throw new NotSupportedException();
        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> into)
        {
            if (into.Length == 0 || !Fill()) return 0;
            int count = Math.Min(into.Length, chunk.Length - next);
            chunk.AsSpan(next, count).CopyTo(into);
            next += count;
            return count;
        }

        public override int Read(byte[] into, int offset, int count) => Read(into.AsSpan(offset, count));

        public override int ReadByte() => Fill() ? chunk[next++] : -1;

        public override void Write(ReadOnlySpan<byte> data)
        {
            if (data.Length > 0) connection.Write(data);
        }

        public override void Write(byte[] data, int offset, int count) => Write(data.AsSpan(offset, count));

        public override void WriteByte(byte value) => Write(new[] { value });

        public override void Flush() { }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        private bool Fill()
        {
            if (next == chunk.Length && !isEnded)
            {
                chunk = connection.Read();
                next = 0;
                isEnded = chunk.Length == 0;
            }
            return next < chunk.Length;
        }
    }
}
