#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Runtime
{
    /// <summary>The interface <c>tcp</c>. The connection belongs to the call of <c>serve</c>, and ends with it.</summary>
    internal sealed unsafe class HostConnection : Connection, IDisposable
    {
        private static readonly ErrorKind[] Errors = { ErrorKind.Closed, ErrorKind.TimedOut, ErrorKind.Failed };

        /// <summary>0 once it has been dropped.</summary>
        private int handle;

        internal HostConnection(int handle) => this.handle = handle;

        public override string PeerAddress
        {
            get
            {
                byte* result = Guest.Result;
                Guest.Slots[0] = Live();
                Guest.Slots[1] = (int)result;
                Guest.Call(Op.tcp_method_connection_peer_address);
                string address = Abi.Text(result);
                Guest.Release();
                return address;
            }
        }

        public override byte[] Read(int limit = ChunkBytes)
        {
            if (limit <= 0) throw new ArgumentOutOfRangeException(nameof(limit), limit, "a limit is at least a byte");
            byte* result = Guest.Result;
            Guest.Slots[0] = Live();
            Guest.Slots[1] = limit;
            Guest.Slots[2] = (int)result;
            Guest.Call(Op.tcp_method_connection_read);
            Abi.Check(result, Errors);
            byte[] bytes = Abi.Bytes(result + 4);
            Guest.Release();
            return bytes;
        }

        public override void Write(ReadOnlySpan<byte> data)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (byte* dataAt = data)
            {
                slots[0] = Live();
                slots[1] = (int)dataAt;
                slots[2] = data.Length;
                slots[3] = (int)result;
                Guest.Call(Op.tcp_method_connection_write);
            }
            Abi.Check(result, Errors);
        }

        public override ConnectionEvent? WaitAny(IReadOnlyList<Subscription> subscriptions, TimeSpan timeout)
        {
            int[] handles = new int[subscriptions.Count];
            for (int i = 0; i < handles.Length; i++) handles[i] = ((HostSubscription)subscriptions[i]).Live();
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (int* handlesAt = handles)
            {
                slots[0] = Live();
                slots[1] = (int)handlesAt;
                slots[2] = handles.Length;
                slots[3] = Abi.Milliseconds(timeout);
                slots[4] = (int)result;
                Guest.Call(Op.tcp_method_connection_wait_any);
            }
            if (result[0] == 0) return null;
            return result[4] == 0 ? ConnectionEvent.Readable : ConnectionEvent.Message(Abi.Number(result + 8));
        }

        public void Dispose()
        {
            if (handle == 0) return;
            Guest.Slots[0] = handle;
            handle = 0;
            Guest.Call(Op.tcp_resource_drop_connection);
        }

        private int Live() => handle != 0 ? handle : throw new ObjectDisposedException(nameof(Connection));
    }
}
