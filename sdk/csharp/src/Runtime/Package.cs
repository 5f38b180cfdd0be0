#nullable enable
using System;
using System.Collections.Generic;
using System.Reflection;

namespace Recoil.Runtime
{
    /// <summary>What is wrong with a package, in words for its author.</summary>
    internal sealed class PackageException : Exception
    {
        internal PackageException(string message) : base(message) { }
    }

    /// <summary>
    /// The author's class: the one of the assembly that implements roles. It is found when the component is made; its object is made by an
    /// instance's first call, so that no two instances have the same random numbers.
    /// </summary>
    internal static class Package
    {
        private static Type type = typeof(Package);
        private static object? instance;

        /// <summary>The exports that the class implements, a bit for each by its number.</summary>
        internal static long Roles { get; private set; }

        internal static void Find(Assembly assembly)
        {
            var found = new List<Type>();
            foreach (Type candidate in assembly.GetTypes())
                if (candidate.IsClass && !candidate.IsAbstract && candidate.Namespace != typeof(Package).Namespace && RolesOf(candidate) != 0)
                    found.Add(candidate);
            if (found.Count != 1)
            {
                string names = found.Count == 0 ? "none does" : "these do: " + string.Join(", ", found);
                throw new PackageException("a package is one class that implements IHandler and, if it wants, ITimer, IListener, "
                    + "IHttpHandler, IAdmin and IScheduler, or IScheduler alone; of this one's classes " + names);
            }
            type = found[0];
            if (type.GetConstructor(Type.EmptyTypes) == null)
                throw new PackageException(type + ": the class that is the package needs a public constructor without parameters");
            Roles = RolesOf(type);
            if (!typeof(IHandler).IsAssignableFrom(type) && Roles != Role<IScheduler>(type, Exp.scheduler_plan))
                throw new PackageException(type + ": a package has a handler: implement IHandler");
        }

        private static long RolesOf(Type candidate)
            => Role<IHandler>(candidate, Exp.handler_handle) | Role<ITimer>(candidate, Exp.timer_fire)
                | Role<IListener>(candidate, Exp.tcp_listener_serve) | Role<IHttpHandler>(candidate, Exp.http_handler_handle)
                | Role<IAdmin>(candidate, Exp.admin_commands) | Role<IAdmin>(candidate, Exp.admin_run)
                | Role<IScheduler>(candidate, Exp.scheduler_plan);

        private static long Role<TRole>(Type candidate, int export) => typeof(TRole).IsAssignableFrom(candidate) ? 1L << export : 0;

        /// <summary>The package, if it wants to rehearse.</summary>
        internal static IRehearsed? Rehearsed
            => typeof(IRehearsed).IsAssignableFrom(type) ? (IRehearsed)Activator.CreateInstance(type)! : null;

        /// <summary>The package in one of its roles.</summary>
        internal static TRole As<TRole>() => (TRole)(instance ??= Activator.CreateInstance(type)!);

        /// <summary>Lets another object be the package; null makes the author's anew.</summary>
        internal static void Replace(object? by) => instance = by;
    }
}
