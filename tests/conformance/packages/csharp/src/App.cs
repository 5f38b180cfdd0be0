#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using Recoil;
using Recoil.Fake;

namespace Conformance
{
    /// <summary>Everything that the contract offers, behind the protocol of <c>tests/conformance/PROTOCOL.md</c>.</summary>
    /// <remarks>
    /// A request is a list of a command and its arguments, whatever brought it. <see cref="Anywhere"/> runs those that need nothing but
    /// storage, <see cref="Owner"/> those of a handler, <see cref="Caller"/> those of a listener; <see cref="Session"/> carries them over TCP.
    /// <see cref="Office"/> has the commands for operators, <see cref="Planner"/> is the scheduler.
    /// </remarks>
    public sealed class App : IHandler, ITimer, IListener, IHttpHandler, IAdmin, IScheduler, IRehearsed
    {
        private const string Bytes = "application/octet-stream";
        private const string Status = "/status/";

        private static readonly byte[] Fired = Wire.Utf8("fired:");

        public byte[] Handle(Transaction transaction, byte[] request)
        {
            try
            {
                var arguments = new Arguments(request);
                string command = arguments.Text();
                IReadOnlyCollection<byte[]>? answer = Anywhere.Run(transaction, command, arguments);
                return Wire.Encode(answer ?? Owner.Run(transaction, command, arguments));
            }
            catch (Refusal refusal)
            {
                throw new RecoilException($"{refusal.Kind}: {refusal.Message}");
            }
        }

        public void Fire(Transaction transaction, byte[] id, byte[] payload) => transaction.Put(Fired.Concat(id).ToArray(), payload);

        public void Serve(Connection connection, Router router) => new Session(connection, router).Run();

        public HttpResponse Respond(HttpRequest request, Router router)
        {
            string path = request.Path;
            if (path == "/call" && request.Method == "POST")
            {
                byte[] answer = Wire.Answer(() =>
                {
                    var arguments = new Arguments(request.Body);
                    return Caller.Run(router, request.PeerAddress, arguments.Text(), arguments);
                });
                return new HttpResponse(200).WithBody(Bytes, answer);
            }
            if (path == "/mirror") return Mirror(request);
            if (path == "/fail") throw new RecoilException("asked to fail");
            if (path == "/throw") throw new InvalidOperationException("asked to throw");
            if (path.StartsWith(Status, StringComparison.Ordinal) && int.TryParse(path.Substring(Status.Length), out int status))
                return new HttpResponse(status);
            return HttpResponse.Text(404, "not found");
        }

        public IReadOnlyList<Command> Commands() => Office.Commands;

        public string Run(IReadOnlyList<string> arguments, Router router) => Office.Run(arguments, router);

        public IReadOnlyList<Placement> Plan(View view) => Planner.Plan(view);

        public void Rehearse()
        {
            var cluster = new FakeCluster(this, partitions: 1, groups: 1);
            byte[] bump = Wire.Encode(Wire.Texts("bump", "key", "value"));
            foreach (byte[] request in new[] { bump, Wire.Encode(new[] { Wire.Utf8("call"), Wire.Utf8("write"), Wire.Utf8("key"), bump }) })
            {
                Serve(new FakeConnection(new byte[] { 0, 0, 0, (byte)request.Length }, request), cluster);
                Respond(new HttpRequest("POST", "/call").WithBody(request), cluster);
            }
        }

        private static HttpResponse Mirror(HttpRequest request)
        {
            HttpResponse response = new HttpResponse(200).WithBody(Bytes, request.Body).WithHeader("x-method", request.Method)
                .WithHeader("x-path", request.Path).WithHeader("x-query", request.Query);
            return request.Headers.Where(header => header.Name.StartsWith("x-", StringComparison.Ordinal))
                .Aggregate(response, (mirrored, header) => mirrored.WithHeader(header));
        }
    }
}
