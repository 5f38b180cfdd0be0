#nullable enable
using System;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>
    /// The exports: parameters become objects, the package's answer becomes a <c>result</c>. What is returned is read by the host before
    /// managed code runs again, so nothing can move or free it meanwhile.
    /// </summary>
    internal static unsafe class Exports
    {
        private static readonly byte[] Nothing = Array.Empty<byte>();

        /// <summary>Runs the export of that number; where its result lies.</summary>
        internal static long Run(int export, long* parameters)
        {
            try
            {
                switch (export)
                {
                    case Exp.handler_handle:
                        return Handle(parameters);
                    case Exp.timer_fire:
                        return Fire(parameters);
                    case Exp.tcp_listener_serve:
                        return Serve((int)parameters[0]);
                    case Exp.http_handler_handle:
                        return Respond(parameters);
                    case Exp.admin_commands:
                        return ListCommands();
                    case Exp.admin_run:
                        return RunCommand(parameters);
                    case Exp.scheduler_plan:
                        return Plan(parameters);
                    default:
                        WarmUp.Settle();
                        return 0;
                }
            }
            catch (OutOfMemoryException failure)
            {
                GC.Collect();
                return Fail(failure);
            }
            catch (Exception failure)
            {
                return Fail(failure);
            }
        }

        private static long Handle(long* parameters)
        {
            byte[] request = Abi.Bytes(parameters[0], parameters[1]);
            Guest.Release();
            return Return(0, Package.As<IHandler>().Handle(HostTransaction.Current, request) ?? Nothing);
        }

        private static long Fire(long* parameters)
        {
            byte[] id = Abi.Bytes(parameters[0], parameters[1]);
            byte[] payload = Abi.Bytes(parameters[2], parameters[3]);
            Guest.Release();
            Package.As<ITimer>().Fire(HostTransaction.Current, id, payload);
            return Return(0, Nothing);
        }

        private static long Serve(int handle)
        {
            using var connection = new HostConnection(handle);
            try
            {
                Package.As<IListener>().Serve(connection, HostRouter.Instance);
            }
            finally
            {
                DropResources();
            }
            return Return(0, Nothing);
        }

        private static long Respond(long* parameters)
        {
            HttpRequest request = Request(parameters);
            Guest.Release();
            HttpResponse response;
            try
            {
                response = Package.As<IHttpHandler>().Respond(request, HostRouter.Instance);
            }
            catch (MalformedRequestException malformed)
            {
                response = HttpResponse.Text(400, malformed.Message + "\n");
            }
            finally
            {
                DropResources();
            }
            return Return(response ?? throw new InvalidOperationException("IHttpHandler.Respond has answered null"));
        }

        private static long ListCommands()
        {
            try
            {
                IReadOnlyList<Command>? commands = Package.As<IAdmin>().Commands();
                return Commands.Return(commands ?? throw new InvalidOperationException("IAdmin.Commands has answered null"));
            }
            catch (Exception failure)
            {
                // This export has no error to answer.
                Host.Log(LogLevel.Error, "uncaught " + Hint(failure) + failure);
                Environment.FailFast("IAdmin.Commands has thrown");
                throw;
            }
        }

        private static long RunCommand(long* parameters)
        {
            string[] arguments = Abi.Items(parameters[0], parameters[1], Abi.List, Abi.Text);
            Guest.Release();
            string? output;
            try
            {
                output = Package.As<IAdmin>().Run(arguments, HostRouter.Instance);
            }
            finally
            {
                DropResources();
            }
            return Return(0, Encoding.UTF8.GetBytes(output ?? throw new InvalidOperationException("IAdmin.Run has answered null")));
        }

        private static long Plan(long* parameters)
        {
            View view = Placements.View(parameters);
            Guest.Release();
            IReadOnlyList<Placement>? plan = Package.As<IScheduler>().Plan(view);
            return Placements.Return(plan ?? throw new InvalidOperationException("IScheduler.Plan has answered null"));
        }

        private static void DropResources()
        {
            HostPending.DropAll();
            HostSubscription.DropAll();
        }

        private static HttpRequest Request(long* parameters)
        {
            HttpHeader[] headers = Abi.Items(parameters[6], parameters[7], 2 * Abi.List,
                header => new HttpHeader(Abi.Text(header), Abi.Bytes(header + Abi.List)));
            return new HttpRequest(Abi.Text(parameters[0], parameters[1]), Abi.Text(parameters[2], parameters[3]),
                Abi.Text(parameters[4], parameters[5]), headers, Abi.Bytes(parameters[8], parameters[9]),
                Abi.Text(parameters[10], parameters[11]));
        }

        /// <summary>A <c>result</c> whose payload is a list of bytes, a text, or nothing.</summary>
        private static long Return(int @case, byte[] payload)
        {
            int* result = (int*)Guest.Returned;
            result[0] = @case;
            PutBytes(result + 1, payload);
            return (int)result;
        }

        private static long Return(HttpResponse response)
        {
            IReadOnlyList<HttpHeader> headers = response.Headers;
            var names = new byte[headers.Count][];
            long bytes = 0;
            for (int i = 0; i < names.Length; i++)
            {
                names[i] = Encoding.UTF8.GetBytes(headers[i].Name);
                bytes += names[i].Length + headers[i].Value.Length;
            }
            var list = new Outgoing(2 * Abi.List, names.Length, bytes);
            for (int i = 0; i < names.Length; i++)
            {
                byte* at = list.Items + 2 * Abi.List * i;
                list.Put(at, names[i]);
                list.Put(at + Abi.List, headers[i].Value);
            }
            int* result = (int*)Guest.Returned;
            result[0] = 0;
            result[1] = (ushort)response.Status;
            result[2] = (int)list.Items;
            result[3] = names.Length;
            PutBytes(result + 4, response.Body);
            return (int)result;
        }

        private static void PutBytes(int* at, byte[] bytes)
        {
            fixed (byte* bytesAt = bytes) at[0] = (int)bytesAt;
            at[1] = bytes.Length;
        }

        /// <summary>
        /// What the caller is told of an exception. What is not a refusal is a mistake of the package: its stack goes to the log.
        /// </summary>
        private static long Fail(Exception failure)
        {
            if (failure is RecoilException) return Return(1, Encoding.UTF8.GetBytes(failure.Message));
            string hint = Hint(failure);
            Host.Log(LogLevel.Error, "uncaught " + hint + failure);
            return Return(1, Encoding.UTF8.GetBytes(hint + failure.GetType().FullName + ": " + failure.Message));
        }

        /// <summary>What the runtime does not say: whoever starts a thread, waits for one or opens a file is told that there are none.</summary>
        internal static string Hint(Exception failure)
        {
            Exception cause = failure.GetBaseException();
            bool isAboutThreads = cause is PlatformNotSupportedException && (cause.StackTrace ?? "").Contains("System.Threading.");
            bool isAboutFiles = cause is IOException && cause.Message.StartsWith("Function not implemented", StringComparison.Ordinal);
            return isAboutThreads ? "threads are not supported: " : isAboutFiles ? "files are not supported: " : "";
        }
    }
}
