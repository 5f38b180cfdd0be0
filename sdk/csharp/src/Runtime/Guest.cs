#nullable enable
using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>
    /// The doors between the host and managed code.
    ///
    /// Everything crosses as slots of 8 bytes in one unmanaged block of 4 KiB, which the packer allocates: slots 0 to 31 are an export's
    /// number, parameters and result, 32 to 63 what an export returns that does not fit a slot, 64 to 95 a call's parameters and result,
    /// and from 96 on what a call returns that does not fit. The numbers of calls and exports are constants that the packer writes
    /// (<c>Op</c> and <c>Exp</c>). What the host hands over lies in unmanaged memory, which <see cref="Release"/> frees as a whole.
    ///
    /// The packer calls, through the runtime, <see cref="Closure"/>, <see cref="Init"/> and <see cref="Dispatch"/>. There is one thread, and
    /// a call is never entered again: an import runs no managed code.
    /// </summary>
    internal static unsafe class Guest
    {
        /// <summary>What <see cref="Init"/> and <see cref="Closure"/> leave in slot 0 when they have succeeded.</summary>
        private const long Done = 42;
        private const int ReturnSlot = 32;
        private const int CallSlot = 64;
        private const int ResultSlot = 96;
        private const int ResultBytes = 512;

        /// <summary>Parameters of a call to an import; what fits a slot comes back in the first.</summary>
        internal static long* Slots;

        /// <summary>Where results lie that do not fit a slot.</summary>
        internal static byte* Result;

        /// <summary>Where an export's result lies that does not fit a slot.</summary>
        internal static byte* Returned;

        /// <summary>While the component is made there is no host: every import answers zeros, which is success, none or nothing.</summary>
        internal static bool IsWarmingUp;

        // An entry of the runtime's table of native functions that nothing uses; the packer puts the door there.
        [DllImport("libSystem.Native", EntryPoint = "SystemNative_SysLog")]
        [SuppressGCTransition]
        private static extern int Door(int op, long* slots);

        // What runs managed code again must not skip the transition.
        [DllImport("libSystem.Native", EntryPoint = "SystemNative_SysLog")]
        private static extern int SlowDoor(int op, long* slots);

        /// <summary>
        /// Called once, when the component is made: what it leaves in memory becomes part of the component. Slot 0 has the assembly's name
        /// and gets <see cref="Done"/>; slot 1 gets the package's roles, a bit for each export by its number.
        /// </summary>
        public static void Init(long* block)
        {
            try
            {
                Slots = block + CallSlot;
                Result = (byte*)(block + ResultSlot);
                Returned = (byte*)(block + ReturnSlot);
                Package.Find(Assembly.Load(Name(block)));
                IsWarmingUp = true;
                WarmUp.Run();
                IsWarmingUp = false;
                for (int i = 0; i < 3; i++)
                {
                    GC.Collect();
                    SlowDoor(Op.Background, Slots);
                }
                block[1] = Package.Roles;
                block[0] = Done;
            }
            catch (Exception failure)
            {
                Console.Error.WriteLine(failure is PackageException ? failure.Message : Exports.Hint(failure) + failure);
                block[0] = 0;
            }
        }

        /// <summary>
        /// Called once with every assembly that there is: prints the names of those that the package can reach. Slot 0 has the assembly's
        /// name and gets <see cref="Done"/>.
        /// </summary>
        /// <remarks>
        /// References may be facades such as netstandard, which in turn refer to everything: they are needed, but what must be followed is
        /// where the types that are used really live.
        /// </remarks>
        public static void Closure(long* block)
        {
            try
            {
                var seen = new HashSet<string>();
                var waiting = new List<string> { Name(block) };
                while (waiting.Count > 0)
                {
                    string name = waiting[waiting.Count - 1];
                    waiting.RemoveAt(waiting.Count - 1);
                    if (!seen.Add(name)) continue;
                    Assembly assembly;
                    try
                    {
                        assembly = Assembly.Load(name);
                    }
                    catch (FileNotFoundException)
                    {
                        Console.WriteLine("missing " + name);
                        continue;
                    }
                    Console.WriteLine("assembly " + name);
                    HashSet<string> used = AssembliesOfTypes(assembly.ManifestModule);
                    waiting.AddRange(used);
                    foreach (AssemblyName reference in assembly.GetReferencedAssemblies())
                        if (!used.Contains(reference.Name!) && seen.Add(reference.Name!)) Console.WriteLine("assembly " + reference.Name);
                }
                // A facade may refer to another one: what has been loaded on the way to a type is on the way at run time, too.
                foreach (Assembly loaded in AppDomain.CurrentDomain.GetAssemblies()) Console.WriteLine("assembly " + loaded.GetName().Name);
                block[0] = Done;
            }
            catch (Exception failure)
            {
                Console.Error.WriteLine(failure.ToString());
                block[0] = 0;
            }
        }

        private static HashSet<string> AssembliesOfTypes(Module module)
        {
            var assemblies = new HashSet<string>();
            for (int reference = 0x01000001; ; reference++) // tokens of the table TypeRef
            {
                try
                {
                    assemblies.Add(module.ResolveType(reference).Assembly.GetName().Name!);
                }
                catch (ArgumentException)
                {
                    return assemblies; // behind the last
                }
                catch (Exception)
                {
                    // A type that is not there matters when it is used.
                }
            }
        }

        private static string Name(long* block) => Marshal.PtrToStringUTF8((IntPtr)(int)block[0])!;

        /// <summary>Every export arrives here: slot 0 has its number and gets its result, slot 1 and those behind have its parameters.</summary>
        public static void Dispatch(long* block) => block[0] = Exports.Run((int)block[0], block + 1);

        internal static void Call(int op)
        {
            if (!IsWarmingUp)
            {
                Door(op, Slots);
                return;
            }
            Door(Op.Release, Slots);
            Slots[0] = 0;
            new Span<byte>(Result, ResultBytes).Clear();
        }

        /// <summary>Frees all that the host has handed over and <see cref="Allocate"/> has given; called after copying.</summary>
        internal static void Release() => Door(Op.Release, Slots);

        /// <summary>Memory for a list on its way to the host; it is freed with what the host hands over.</summary>
        internal static byte* Allocate(int bytes)
        {
            Slots[0] = bytes;
            Door(Op.Alloc, Slots);
            return (byte*)(int)Slots[0];
        }
    }
}
