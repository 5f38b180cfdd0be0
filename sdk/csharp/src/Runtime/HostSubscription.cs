#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Runtime
{
    /// <summary>Messages of one topic; dropped, at the latest, when the export returns.</summary>
    internal sealed unsafe class HostSubscription : Subscription
    {
        private static readonly HashSet<HostSubscription> Open = new HashSet<HostSubscription>();

        /// <summary>0 once it has been dropped.</summary>
        private int handle;

        internal HostSubscription(int handle)
        {
            this.handle = handle;
            Open.Add(this);
        }

        internal static void DropAll()
        {
            foreach (HostSubscription subscription in new List<HostSubscription>(Open)) subscription.Dispose();
        }

        internal int Live() => handle != 0 ? handle : throw new ObjectDisposedException(nameof(Subscription));

        public override byte[]? Next(TimeSpan timeout)
        {
            byte* result = Guest.Result;
            Guest.Slots[0] = Live();
            Guest.Slots[1] = Abi.Milliseconds(timeout);
            Guest.Slots[2] = (int)result;
            Guest.Call(Op.router_method_subscription_next);
            byte[]? message = Abi.OptionalBytes(result);
            Guest.Release();
            return message;
        }

        public override void Dispose()
        {
            if (handle == 0) return;
            Open.Remove(this);
            Guest.Slots[0] = handle;
            handle = 0;
            Guest.Call(Op.router_resource_drop_subscription);
        }
    }
}
