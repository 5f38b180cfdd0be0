#nullable enable
using System;
using System.Collections.Generic;
using System.Text;

namespace Recoil
{
    /// <summary>A header of a request or a response. The value's bytes need not be text.</summary>
    public readonly struct HttpHeader
    {
        /// <summary>A header.</summary>
        public HttpHeader(string name, byte[] value)
        {
            Name = name;
            Value = value;
        }

        /// <summary>A header whose value is text.</summary>
        public HttpHeader(string name, string value) : this(name, Encoding.UTF8.GetBytes(value)) { }

        /// <summary>The name; a request's is in lower case.</summary>
        public string Name { get; }

        /// <summary>The value as it was sent.</summary>
        public byte[] Value { get; }

        /// <summary>The value as text; <see cref="MalformedRequestException"/> if it is not UTF-8.</summary>
        public string Text => ExactText.Of(Value, Value.Length, "the header " + Name);
    }

    /// <summary>
    /// A request has bytes that are not UTF-8 where they are read as text. An <see cref="IHttpHandler"/> that does not catch it answers
    /// 400; the bytes as they were sent are in the request's path, query, headers and body.
    /// </summary>
    public sealed class MalformedRequestException : RecoilException
    {
        /// <summary>A request that cannot be read, with what the client is told.</summary>
        public MalformedRequestException(string reason) : base(reason) { }
    }

    /// <summary>Bytes of a request as text. With U+FFFD in the place of what is not UTF-8, two keys could become one.</summary>
    internal static class ExactText
    {
        private static readonly UTF8Encoding Strict = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

        public static string Of(byte[] bytes, int length, string what)
        {
            try
            {
                return Strict.GetString(bytes, 0, length);
            }
            catch (ArgumentException)
            {
                throw new MalformedRequestException(what + " is not UTF-8");
            }
        }
    }

    /// <summary>A request, read to its end.</summary>
    public sealed class HttpRequest
    {
        private static readonly HttpHeader[] NoHeaders = new HttpHeader[0];

        /// <summary>A request.</summary>
        public HttpRequest(string method, string path, string query, IReadOnlyList<HttpHeader> headers, byte[] body, string peerAddress)
        {
            Method = method;
            Path = path;
            Query = query;
            Headers = headers;
            Body = body;
            PeerAddress = peerAddress;
        }

        /// <summary>
        /// A request without headers and body, as a test makes it. What follows a question mark in <paramref name="target"/> is the query.
        /// </summary>
        public HttpRequest(string method, string target)
            : this(method, Before(target, '?'), After(target, '?') ?? "", NoHeaders, Array.Empty<byte>(), "127.0.0.1:50312") { }

        /// <summary><c>GET</c>, say.</summary>
        public string Method { get; }

        /// <summary>From the first slash up to the question mark, as sent: percent-encoding is not undone.</summary>
        public string Path { get; }

        /// <summary>Behind the question mark, without it, as sent.</summary>
        public string Query { get; }

        /// <summary>Lower-case names and values, in the order sent.</summary>
        public IReadOnlyList<HttpHeader> Headers { get; }

        /// <summary>The body, read to its end.</summary>
        public byte[] Body { get; }

        /// <summary>The client, as <c>address:port</c>.</summary>
        public string PeerAddress { get; }

        /// <summary>
        /// The parts of the path between slashes, percent-encoding undone. An encoded slash stays inside its part.
        /// <see cref="MalformedRequestException"/> if one is not UTF-8.
        /// </summary>
        public IReadOnlyList<string> Segments
            => Array.ConvertAll(Path.Split('/', StringSplitOptions.RemoveEmptyEntries), part => Decode(part, "the path", plusIsSpace: false));

        /// <summary>The same with another body.</summary>
        public HttpRequest WithBody(byte[] body) => new HttpRequest(Method, Path, Query, Headers, body, PeerAddress);

        /// <summary>The same with one more header.</summary>
        public HttpRequest WithHeader(string name, string value)
        {
            var header = new HttpHeader(name.ToLowerInvariant(), value);
            return new HttpRequest(Method, Path, Query, new List<HttpHeader>(Headers) { header }, Body, PeerAddress);
        }

        /// <summary>
        /// The value of the first header of that name, in any case; null if there is none, <see cref="MalformedRequestException"/> if it
        /// is not UTF-8.
        /// </summary>
        public string? Header(string name)
        {
            foreach (HttpHeader header in Headers)
                if (header.Name.Equals(name, StringComparison.OrdinalIgnoreCase)) return header.Text;
            return null;
        }

        /// <summary>
        /// The first value of that name in the query, percent-encoding and plus signs undone; empty without a value, null if absent.
        /// <see cref="MalformedRequestException"/> if the query is not UTF-8 up to there.
        /// </summary>
        public string? QueryValue(string name)
        {
            foreach (string pair in Query.Split('&', StringSplitOptions.RemoveEmptyEntries))
                if (Decode(Before(pair, '='), "the query", plusIsSpace: true) == name)
                    return Decode(After(pair, '=') ?? "", "the query", plusIsSpace: true);
            return null;
        }

        private static string Before(string text, char mark)
        {
            int at = text.IndexOf(mark);
            return at < 0 ? text : text.Substring(0, at);
        }

        private static string? After(string text, char mark)
        {
            int at = text.IndexOf(mark);
            return at < 0 ? null : text.Substring(at + 1);
        }

        /// <summary>Undoes percent-encoding (RFC 3986, section 2.1); what is not encoded properly stays as it is.</summary>
        private static string Decode(string text, string what, bool plusIsSpace)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(plusIsSpace ? text.Replace('+', ' ') : text);
            int length = 0;
            for (int at = 0; at < bytes.Length; at++)
            {
                byte value = bytes[at];
                if (value == '%' && at + 2 < bytes.Length && Digit(bytes[at + 1]) >= 0 && Digit(bytes[at + 2]) >= 0)
                {
                    value = (byte)(Digit(bytes[at + 1]) * 16 + Digit(bytes[at + 2]));
                    at += 2;
                }
                bytes[length++] = value;
            }
            return ExactText.Of(bytes, length, what);
        }

        private static int Digit(byte character)
        {
            if (character >= '0' && character <= '9') return character - '0';
            int letter = character | 0x20;
            return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
        }
    }

    /// <summary>An answer.</summary>
    public sealed class HttpResponse
    {
        private static readonly HttpHeader[] NoHeaders = new HttpHeader[0];

        /// <summary>An answer without a body. The status is 200 to 599.</summary>
        public HttpResponse(int status) : this(status, NoHeaders, Array.Empty<byte>()) { }

        /// <summary>An answer.</summary>
        public HttpResponse(int status, IReadOnlyList<HttpHeader> headers, byte[] body)
        {
            Status = status;
            Headers = headers;
            Body = body;
        }

        /// <summary>200 to 599.</summary>
        public int Status { get; }

        /// <summary>The length and whatever belongs to the connection are the host's and left out.</summary>
        public IReadOnlyList<HttpHeader> Headers { get; }

        /// <summary>The body.</summary>
        public byte[] Body { get; }

        /// <summary>An answer in plain text.</summary>
        public static HttpResponse Text(int status, string text)
            => new HttpResponse(status).WithBody("text/plain; charset=utf-8", Encoding.UTF8.GetBytes(text));

        /// <summary>An answer in JSON, which <paramref name="json"/> is already.</summary>
        public static HttpResponse Json(int status, string json)
            => new HttpResponse(status).WithBody("application/json", Encoding.UTF8.GetBytes(json));

        /// <summary>The same with another body.</summary>
        public HttpResponse WithBody(string contentType, byte[] body)
            => new HttpResponse(Status, Headers, body).WithHeader("content-type", contentType);

        /// <summary>The same with one more header.</summary>
        public HttpResponse WithHeader(string name, string value) => WithHeader(new HttpHeader(name, value));

        /// <summary>The same with one more header, whose value need not be text.</summary>
        public HttpResponse WithHeader(HttpHeader header) => new HttpResponse(Status, new List<HttpHeader>(Headers) { header }, Body);
    }
}
