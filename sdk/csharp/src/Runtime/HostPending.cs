#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Runtime
{
    /// <summary>
    /// A call under way. The host bounds how many an instance may have, and an object that its author has forgotten would be one for ever: so
    /// when many have come together, the answers of those that are ready are fetched, and only the collector need forget them. When the
    /// export returns, the rest is dropped.
    /// </summary>
    internal sealed unsafe class HostPending : Pending
    {
        /// <summary>From here on answers are fetched: of the host's 1,024, a quarter and three quarters.</summary>
        private const int SettleAtMin = 256;
        private const int SettleAtMax = 768;

        private static List<HostPending> unsettled = new List<HostPending>();
        private static int settleAt = SettleAtMin;

        /// <summary>0 once it is the host's no more.</summary>
        private int handle;
        /// <summary>Null until it is fetched.</summary>
        private Answer? answer;

        private HostPending(int handle) => this.handle = handle;

        internal static HostPending Of(int handle)
        {
            var pending = new HostPending(handle);
            unsettled.Add(pending);
            if (unsettled.Count >= settleAt) SettleReady();
            return pending;
        }

        private static void SettleReady()
        {
            var kept = new List<HostPending>();
            foreach (HostPending call in unsettled)
            {
                if (call.handle == 0) continue;
                if (call.IsReady) call.Settle();
                else kept.Add(call);
            }
            if (kept.Count >= SettleAtMax)
            {
                kept[0].Settle();
                kept.RemoveAt(0);
            }
            unsettled = kept;
            settleAt = Math.Min(SettleAtMax, Math.Max(SettleAtMin, 2 * kept.Count));
        }

        /// <summary>Drops all that are still the host's: nobody will wait for them.</summary>
        internal static void DropAll()
        {
            foreach (HostPending call in unsettled) call.Dispose();
            unsettled.Clear();
            settleAt = SettleAtMin;
        }

        internal static List<Answer> WaitAll(IReadOnlyList<Pending> calls)
        {
            int count = calls.Count;
            var handles = new List<int>(count);
            var seen = new HashSet<Pending>();
            foreach (Pending call in calls)
            {
                var pending = (HostPending)call;
                if (!seen.Add(pending)) throw new ArgumentException("a call is in the list twice", nameof(calls));
                if (pending.answer == null) handles.Add(pending.Live());
            }
            List<Answer> awaited = WaitAll(handles);
            var answers = new List<Answer>(count);
            int next = 0;
            foreach (Pending call in calls)
            {
                var pending = (HostPending)call;
                answers.Add(pending.answer ?? awaited[next++]);
                pending.answer = null;
                pending.handle = 0;
            }
            return answers;
        }

        private static List<Answer> WaitAll(List<int> handles)
        {
            int[] items = handles.ToArray();
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (int* itemsAt = items)
            {
                slots[0] = (int)itemsAt;
                slots[1] = items.Length;
                slots[2] = (int)result;
                Guest.Call(Op.router_wait_all);
            }
            return Abi.Answers(result, HostRouter.Errors);
        }

        public override bool IsReady
        {
            get
            {
                if (answer != null) return true;
                Guest.Slots[0] = Live();
                Guest.Call(Op.router_method_pending_is_ready);
                return (int)Guest.Slots[0] != 0;
            }
        }

        public override byte[] Wait()
        {
            Answer settled = answer ?? Fetch();
            answer = null;
            return settled.Value;
        }

        public override void Dispose()
        {
            answer = null;
            if (handle == 0) return;
            Guest.Slots[0] = handle;
            handle = 0;
            Guest.Call(Op.router_resource_drop_pending);
        }

        private void Settle() => answer = Fetch();

        private Answer Fetch()
        {
            byte* result = Guest.Result;
            Guest.Slots[0] = Live();
            Guest.Slots[1] = (int)result;
            handle = 0;
            Guest.Call(Op.router_wait);
            try
            {
                Abi.Check(result, HostRouter.Errors);
            }
            catch (RecoilException failure)
            {
                return new Answer(failure);
            }
            var fetched = new Answer(Abi.Bytes(result + 4));
            Guest.Release();
            return fetched;
        }

        private int Live()
            => handle != 0 ? handle : throw new ObjectDisposedException(nameof(Pending), "it has been waited for or disposed of");
    }
}
