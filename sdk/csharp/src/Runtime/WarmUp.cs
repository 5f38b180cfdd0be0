#nullable enable
using System;
using System.Text;

namespace Recoil.Runtime
{
    /// <summary>
    /// Runs, while the component is made, what every instance will run, so that none pays for first uses: the runtime translates a method
    /// when it is first called, and better when it has been called often. The package is an <see cref="Echo"/> meanwhile.
    /// </summary>
    internal static unsafe class WarmUp
    {
        private const int Rounds = 1100; // above the runtime's threshold, of 1,000
        private const int Failures = 100;

        internal static void Run()
        {
            Messages();
            Package.Replace(new Echo());
            byte[] sample = Encoding.UTF8.GetBytes("warm");
            for (int i = 0; i < Rounds; i++)
            {
                Handle(sample);
                Respond(sample);
                Serve();
            }
            for (int i = 0; i < Failures; i++)
            {
                Handle(new byte[0]);
                Handle(new byte[1]);
            }
            Package.Replace(null);
            IRehearsed? package = Package.Rehearsed;
            for (int i = 0; package != null && i < Rounds; i++) package.Rehearse();
        }

        /// <summary>After the last collection: the first allocations sweep what it has left.</summary>
        internal static void Settle()
        {
            Package.Replace(new Echo());
            Guest.IsWarmingUp = true;
            byte[] sample = new byte[200];
            for (int i = 0; i < 20; i++) Handle(sample);
            Guest.IsWarmingUp = false;
            Package.Replace(null);
        }

        /// <summary>The first message that is looked up loads the resources.</summary>
        private static void Messages()
        {
            for (int i = 0; i < 3; i++)
                foreach (Exception failure in new Exception[] { new InvalidCastException(), new NullReferenceException(), new OutOfMemoryException() })
                    failure.ToString();
        }

        private static void Handle(byte[] request)
        {
            long* slots = stackalloc long[3];
            fixed (byte* at = request)
            {
                slots[0] = Exp.handler_handle;
                slots[1] = (int)at;
                slots[2] = request.Length;
                Guest.Dispatch(slots);
            }
        }

        private static void Serve()
        {
            long* slots = stackalloc long[2];
            slots[0] = Exp.tcp_listener_serve;
            slots[1] = 1;
            Guest.Dispatch(slots);
        }

        private static void Respond(byte[] text)
        {
            long* slots = stackalloc long[13];
            fixed (byte* at = text)
            {
                slots[0] = Exp.http_handler_handle;
                for (int i = 0; i < 6; i++)
                {
                    slots[1 + 2 * i] = (int)at;
                    slots[2 + 2 * i] = i == 3 ? 0 : text.Length; // no headers
                }
                Guest.Dispatch(slots);
            }
        }

        private sealed class Echo : IHandler, IListener, IHttpHandler
        {
            public byte[] Handle(Transaction transaction, byte[] request)
            {
                if (request.Length == 0) throw new RecoilException("warm");
                if (request.Length == 1) throw new InvalidOperationException("warm");
                transaction.Get(request);
                transaction.Put(request, request);
                transaction.Scan(KeyRange.All, 1);
                return request;
            }

            public void Serve(Connection connection, Router router)
            {
                foreach (byte _ in connection.Read()) { }
                byte[] answer = router.Call(RoutedCall.Write(Array.Empty<byte>(), Array.Empty<byte>()));
                connection.Write(answer);
            }

            public HttpResponse Respond(HttpRequest request, Router router)
                => HttpResponse.Text(request.Segments.Count == 0 ? 404 : 200, request.Method);
        }
    }
}
