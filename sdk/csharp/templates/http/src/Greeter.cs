using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Recoil;
using Recoil.Fake;

namespace App
{
    /// <summary>Greets whoever asks: <c>GET /hello/NAME</c> counts the greetings of each name.</summary>
    public sealed class Greeter : IHandler, IHttpHandler, IRehearsed
    {
        /// <summary>Runs on the leader of the name's partition. Every request is a transaction.</summary>
        public byte[] Handle(Transaction transaction, byte[] name)
        {
            byte[] value = transaction.Get(name);
            long greeted = value == null ? 1 : BinaryPrimitives.ReadInt64BigEndian(value) + 1;
            value = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(value, greeted);
            transaction.Put(name, value);
            return Encoding.UTF8.GetBytes(greeted.ToString());
        }

        /// <summary>Runs on the node that the client has found, and asks partitions through the router.</summary>
        public HttpResponse Respond(HttpRequest request, Router router)
        {
            IReadOnlyList<string> segments = request.Segments;
            if (request.Method != "GET" || segments.Count != 2 || segments[0] != "hello") return HttpResponse.Text(404, "try /hello/NAME\n");
            string name = segments[1];
            byte[] key = Encoding.UTF8.GetBytes(name);
            string count = Encoding.UTF8.GetString(router.Call(RoutedCall.Write(key, key)));
            string greeting = Settings.Text("greeting") ?? "hello";
            return HttpResponse.Text(200, $"{greeting} {name}, greeting number {count}\n");
        }

        /// <summary>Runs while the component is made, so that no request waits for what is done for the first time.</summary>
        public void Rehearse() => Respond(new HttpRequest("GET", "/hello/world"), new FakeCluster(this, partitions: 1, groups: 1));
    }
}
