#nullable enable
using System;
using System.Collections.Generic;

namespace Recoil.Runtime
{
    /// <summary>The interface <c>router</c>.</summary>
    internal sealed unsafe class HostRouter : Router
    {
        /// <summary>Bytes of a <c>routed-call</c> and of a <c>partition-info</c>.</summary>
        private const int CallBytes = 24;
        private const int PartitionInfoBytes = 32;

        internal static readonly HostRouter Instance = new HostRouter();
        internal static readonly ErrorKind[] Errors =
            { ErrorKind.Rejected, ErrorKind.Failed, ErrorKind.UnknownOutcome, ErrorKind.Unavailable, ErrorKind.Conflict };

        private readonly HostStorage storage = new HostStorage();

        private HostRouter() { }

        public override Storage Storage => storage;

        public override byte[] Call(RoutedCall call)
        {
            byte* result = Guest.Result;
            CallOne(Op.router_call, call, (int)result);
            Abi.Check(result, Errors);
            byte[] answer = Abi.Bytes(result + 4);
            Guest.Release();
            return answer;
        }

        public override IReadOnlyList<Answer> CallMany(IReadOnlyList<RoutedCall> calls)
            => Abi.Answers(CallList(Op.router_call_many, calls), Errors);

        public override Pending Submit(RoutedCall call)
        {
            CallOne(Op.router_submit, call, 0);
            return HostPending.Of((int)Guest.Slots[0]);
        }

        public override IReadOnlyList<Answer> WaitAll(IReadOnlyList<Pending> calls) => HostPending.WaitAll(calls);

        public override IReadOnlyList<byte[]> Transact(IReadOnlyList<RoutedCall> calls)
        {
            byte* result = CallList(Op.router_transact, calls);
            Abi.Check(result, Errors);
            byte* answer = (byte*)Abi.Number(result + 4);
            int count = Abi.Number(result + 8);
            var answers = new List<byte[]>(count);
            for (; count > 0; count--, answer += Abi.List) answers.Add(Abi.Bytes(answer));
            Guest.Release();
            return answers;
        }

        public override IReadOnlyList<Answer> Scatter(byte[] request, Mode mode)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (byte* requestAt = request)
            {
                slots[0] = (int)requestAt;
                slots[1] = request.Length;
                slots[2] = (int)mode;
                slots[3] = (int)result;
                Guest.Call(Op.router_scatter);
            }
            return Abi.Answers(result, Errors);
        }

        public override PartitionInfo Locate(ReadOnlySpan<byte> key)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            fixed (byte* keyAt = key)
            {
                slots[0] = (int)keyAt;
                slots[1] = key.Length;
                slots[2] = (int)result;
                Guest.Call(Op.router_locate);
            }
            PartitionInfo info = Info(result);
            Guest.Release();
            return info;
        }

        public override IReadOnlyList<PartitionInfo> Partitions()
        {
            byte* result = Guest.Result;
            Guest.Slots[0] = (int)result;
            Guest.Call(Op.router_partitions);
            byte* info = (byte*)Abi.Number(result);
            int count = Abi.Number(result + 4);
            var partitions = new List<PartitionInfo>(count);
            for (; count > 0; count--, info += PartitionInfoBytes) partitions.Add(Info(info));
            Guest.Release();
            return partitions;
        }

        public override Subscription Subscribe(ReadOnlySpan<byte> topic)
        {
            fixed (byte* topicAt = topic)
            {
                Guest.Slots[0] = (int)topicAt;
                Guest.Slots[1] = topic.Length;
                Guest.Call(Op.router_subscribe);
            }
            return new HostSubscription((int)Guest.Slots[0]);
        }

        private static PartitionInfo Info(byte* at)
            => new PartitionInfo(Abi.Number(at), Abi.OptionalNumber(at + 4), Abi.Numbers(at + 12), *(long*)(at + 24));

        private static void CallOne(int op, RoutedCall call, int result)
        {
            long* slots = Guest.Slots;
            byte[]? key = call.Key;
            byte[] request = call.Request;
            fixed (byte* keyAt = key, requestAt = request)
            {
                slots[0] = key == null ? 1 : 0;
                slots[1] = key == null ? call.Partition : (int)keyAt;
                slots[2] = key == null ? 0 : key.Length;
                slots[3] = (int)requestAt;
                slots[4] = request.Length;
                slots[5] = (int)call.Mode;
                slots[6] = result;
                Guest.Call(op);
            }
        }

        /// <summary>Calls with a <c>list&lt;routed-call></c>; where the result lies.</summary>
        private static byte* CallList(int op, IReadOnlyList<RoutedCall> calls)
        {
            int count = calls.Count;
            long bytes = 0;
            for (int i = 0; i < count; i++) bytes += (calls[i].Key?.Length ?? 0) + calls[i].Request.Length;
            var list = new Outgoing(CallBytes, count, bytes);
            for (int i = 0; i < count; i++)
            {
                RoutedCall call = calls[i];
                byte* at = list.Items + CallBytes * i;
                *(int*)at = call.Key == null ? 1 : 0;
                if (call.Key != null) list.Put(at + 4, call.Key);
                else *(int*)(at + 4) = call.Partition;
                list.Put(at + 12, call.Request);
                *(int*)(at + 20) = (int)call.Mode;
            }
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            slots[0] = (int)list.Items;
            slots[1] = count;
            slots[2] = (int)result;
            Guest.Call(op);
            return result;
        }
    }
}
