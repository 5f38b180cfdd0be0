#nullable enable
using System;
using System.Collections.Generic;
using System.IO;

namespace Recoil
{
    /// <summary>
    /// A stream of bytes with a client at its other end. What goes wrong is a <see cref="RecoilException"/> of the kind
    /// <see cref="ErrorKind.Closed"/>, <see cref="ErrorKind.TimedOut"/> or <see cref="ErrorKind.Failed"/>; after any of them the connection
    /// is closed.
    /// </summary>
    public abstract class Connection
    {
        /// <summary>Bytes that a read asks for unless told otherwise.</summary>
        public const int ChunkBytes = 65_536;

        /// <summary>Address and port of the client, as <c>127.0.0.1:50312</c> or <c>[::1]:50312</c>.</summary>
        public abstract string PeerAddress { get; }

        /// <summary>
        /// Waits for at least one byte and returns at most <paramref name="limit"/> (and at most 1 MiB); no bytes at the end of the stream.
        /// </summary>
        public abstract byte[] Read(int limit = ChunkBytes);

        /// <summary>
        /// Waits until the host has buffered the bytes, not until they are sent. What is buffered is sent before the next read or
        /// <see cref="WaitAny"/> waits.
        /// </summary>
        public abstract void Write(ReadOnlySpan<byte> data);

        /// <summary>
        /// Waits for input or for a message, whichever is first; null when <paramref name="timeout"/> has passed without either. The end of
        /// the stream is readable. A message is only announced, by its place in <paramref name="subscriptions"/>:
        /// <see cref="Subscription.Next"/> takes it.
        /// </summary>
        public abstract ConnectionEvent? WaitAny(IReadOnlyList<Subscription> subscriptions, TimeSpan timeout);

        /// <summary>
        /// The connection as a stream, for readers and writers. It keeps what it has read ahead, up to 64 KiB: take one, and do not mix it
        /// with <see cref="Read"/>. What is written to it goes to the host at once.
        /// </summary>
        public Stream GetStream() => new ConnectionStream(this);
    }

    /// <summary>What <see cref="Connection.WaitAny"/> waited for: input, or a message of a subscription.</summary>
    public readonly struct ConnectionEvent
    {
        private ConnectionEvent(int? subscription) => Subscription = subscription;

        /// <summary>The client has sent something, or has ended the stream.</summary>
        public static ConnectionEvent Readable => default;

        /// <summary>A message waits, in the subscription at that place.</summary>
        public static ConnectionEvent Message(int subscription) => new ConnectionEvent(subscription);

        /// <summary>True when a read would not wait.</summary>
        public bool IsReadable => Subscription == null;

        /// <summary>The place of the subscription that has a message; null if it is input that came.</summary>
        public int? Subscription { get; }
    }
}
