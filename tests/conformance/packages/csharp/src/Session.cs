#nullable enable
using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using Recoil;

namespace Conformance
{
    /// <summary>The protocol over TCP: frames in their order, each answered before the next is looked at.</summary>
    internal sealed class Session
    {
        /// <summary>Bytes of a frame behind its length.</summary>
        private const int FrameBytesMax = 16 << 20;

        private readonly Connection connection;
        private readonly Router router;
        private readonly Stream input;
        private readonly List<Subscription> subscriptions = new List<Subscription>();

        public Session(Connection connection, Router router)
        {
            this.connection = connection;
            this.router = router;
            input = connection.GetStream();
        }

        public void Run()
        {
            byte[] length = new byte[4];
            for (byte[]? request = Frame(); request != null; request = Frame())
            {
                byte[] frame = request;
                byte[] answer = Wire.Answer(() => Run(new Arguments(frame)));
                // Two writes, so that a long answer is not copied for the sake of its length.
                BinaryPrimitives.WriteInt32BigEndian(length, answer.Length);
                connection.Write(length);
                connection.Write(answer);
            }
        }

        /// <summary>The next request; null at the end of the stream.</summary>
        private byte[]? Frame()
        {
            byte[] length = new byte[4];
            if (!Fill(length)) return null;
            uint bytes = BinaryPrimitives.ReadUInt32BigEndian(length);
            if (bytes > FrameBytesMax) throw new RecoilException($"a frame of {bytes} bytes: at most {FrameBytesMax} are taken");
            byte[] request = new byte[bytes];
            return Fill(request) ? request : null;
        }

        /// <summary>False if the stream ends before.</summary>
        private bool Fill(Span<byte> buffer)
        {
            while (buffer.Length > 0)
            {
                int count = input.Read(buffer);
                if (count == 0) return false;
                buffer = buffer.Slice(count);
            }
            return true;
        }

        private IReadOnlyCollection<byte[]> Run(Arguments arguments)
        {
            string command = arguments.Text();
            switch (command)
            {
                case "subscribe":
                    subscriptions.Add(router.Subscribe(arguments.Bytes()));
                    return Anywhere.Nothing;
                case "next":
                    int number = arguments.Count();
                    TimeSpan timeout = arguments.Milliseconds();
                    if (number >= subscriptions.Count) throw Refusal.Invalid($"no subscription {number}");
                    byte[]? message = subscriptions[number].Next(timeout);
                    return message == null ? Anywhere.Nothing : new[] { message };
                case "wait":
                    ConnectionEvent? happened = connection.WaitAny(subscriptions, arguments.Milliseconds());
                    if (happened == null) return Anywhere.Nothing;
                    return happened.Value.Subscription is int subscription
                        ? Wire.Texts("message", subscription)
                        : Wire.Texts("readable");
                default:
                    return Caller.Run(router, connection.PeerAddress, command, arguments);
            }
        }
    }
}
