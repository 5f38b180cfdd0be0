#nullable enable
using System;
using System.Collections;
using System.Linq;
using System.Reflection;

namespace Recoil.Testing
{
    /// <summary>Marks a public method without parameters as a test. It runs on an object of its own.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    public sealed class TestAttribute : Attribute { }

    /// <summary>What an assertion throws.</summary>
    public sealed class AssertionException : Exception
    {
        internal AssertionException(string message) : base(message) { }
    }

    /// <summary>What a test expects.</summary>
    public static class Assert
    {
        /// <summary>The same value, or a sequence of the same values.</summary>
        public static void Equal<T>(T expected, T actual, string because = "")
        {
            if (!Same(expected, actual)) throw new AssertionException($"expected {Show(expected)}, got {Show(actual)} {because}");
        }

        /// <summary>True.</summary>
        public static void True(bool actual, string because = "")
        {
            if (!actual) throw new AssertionException("expected to be true " + because);
        }

        /// <summary>Nothing.</summary>
        public static void Null(object? actual, string because = "")
        {
            if (actual != null) throw new AssertionException($"expected null, got {Show(actual)} {because}");
        }

        /// <summary>An exception of this class, which is returned.</summary>
        public static TException Throws<TException>(Action action) where TException : Exception
        {
            try
            {
                action();
            }
            catch (TException expected)
            {
                return expected;
            }
            throw new AssertionException($"expected {typeof(TException)}, nothing was thrown");
        }

        private static bool Same(object? a, object? b)
        {
            if (a is IEnumerable x && b is IEnumerable y && !(a is string))
                return x.Cast<object?>().Zip(y.Cast<object?>(), Same).All(same => same) && x.Cast<object?>().Count() == y.Cast<object?>().Count();
            return Equals(a, b);
        }

        private static string Show(object? value)
        {
            switch (value)
            {
                case null: return "null";
                case string text: return '"' + text + '"';
                case IEnumerable items: return "[" + string.Join(", ", items.Cast<object?>().Select(Show)) + "]";
                default: return value.ToString() ?? "";
            }
        }
    }

    /// <summary>
    /// Runs every test of the assembly, or those whose names have one of the arguments in them; the exit code is 1 if one has failed or
    /// none was found.
    /// </summary>
    public static class Runner
    {
        /// <summary>The entry point of a package's tests.</summary>
        public static int Main(string[] names)
        {
            int passed = 0, failed = 0;
            foreach (Type type in Assembly.GetExecutingAssembly().GetTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
                foreach (MethodInfo method in type.GetMethods().Where(method => method.GetCustomAttribute<TestAttribute>() != null))
                {
                    string name = type.Name + "." + method.Name;
                    if (names.Length > 0 && !names.Any(name.Contains)) continue;
                    if (Run(type, method, name)) passed++;
                    else failed++;
                }
            Console.WriteLine($"{passed} passed, {failed} failed");
            return failed == 0 && passed > 0 ? 0 : 1;
        }

        private static bool Run(Type type, MethodInfo method, string name)
        {
            object? test = null;
            try
            {
                test = Activator.CreateInstance(type);
                method.Invoke(test, null);
                Console.WriteLine("ok      " + name);
                return true;
            }
            catch (TargetInvocationException failure)
            {
                Console.WriteLine($"FAILED  {name}\n{failure.InnerException}");
                return false;
            }
            finally
            {
                (test as IDisposable)?.Dispose();
            }
        }
    }
}
