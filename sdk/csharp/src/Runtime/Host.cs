#nullable enable
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>What a package reaches without being given it: the interfaces <c>log</c>, <c>settings</c> and <c>consensus</c>.</summary>
    internal static unsafe class Host
    {
        internal static void Log(LogLevel level, string message)
        {
            long* slots = Guest.Slots;
            byte[] text = Encoding.UTF8.GetBytes(message);
            fixed (byte* textAt = text)
            {
                slots[0] = (int)level;
                slots[1] = (int)textAt;
                slots[2] = text.Length;
                Guest.Call(Op.log_write);
            }
        }

        internal static string? Setting(string name)
        {
            long* slots = Guest.Slots;
            byte* result = Guest.Result;
            byte[] text = Encoding.UTF8.GetBytes(name);
            fixed (byte* textAt = text)
            {
                slots[0] = (int)textAt;
                slots[1] = text.Length;
                slots[2] = (int)result;
                Guest.Call(Op.settings_get);
            }
            string? value = result[0] == 0 ? null : Abi.Text(result + 4);
            Guest.Release();
            return value;
        }

        internal static GroupStatus Status()
        {
            byte* result = Guest.Result;
            Guest.Slots[0] = (int)result;
            Guest.Call(Op.consensus_status);
            var status = new GroupStatus(*(long*)result, (GroupRole)result[8], *(long*)(result + 16), Abi.OptionalNumber(result + 24),
                *(long*)(result + 32), *(long*)(result + 40), Abi.Numbers(result + 48));
            Guest.Release();
            return status;
        }

        internal static long Barrier()
        {
            byte* result = Guest.Result;
            Guest.Slots[0] = (int)result;
            Guest.Call(Op.consensus_barrier);
            if (result[0] == 0) return *(long*)(result + 8);
            string reason = Abi.Text(result + 8);
            Guest.Release();
            throw new RecoilException(ErrorKind.Unavailable, reason);
        }
    }
}
