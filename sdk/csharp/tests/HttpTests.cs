using Recoil;
using Recoil.Testing;

public class HttpTests
{
    [Test]
    public void PathsAndQueriesAreTakenApartAndDecoded()
    {
        var request = new HttpRequest("GET", "/a%2Fb//c%20d/%zz%4?name=J%C3%B6rg+X&empty&name=other");
        Assert.Equal(new[] { "a/b", "c d", "%zz%4" }, request.Segments);
        Assert.Equal("Jörg X", request.QueryValue("name"));
        Assert.Equal("", request.QueryValue("empty"));
        Assert.Null(request.QueryValue("absent"));
        Assert.Equal(0, new HttpRequest("GET", "/").Segments.Count);
    }

    [Test]
    public void WhatIsNotUtf8IsNotReadAsText()
    {
        var request = new HttpRequest("GET", "/a/%FF?name=%ed%a0%80");
        Assert.Throws<MalformedRequestException>(() => request.Segments.ToString());
        Assert.Throws<MalformedRequestException>(() => request.QueryValue("name"));
        Assert.Throws<MalformedRequestException>(() => new HttpHeader("a", new byte[] { 0x61, 0xff }).Text.ToString());
        Assert.Equal(new[] { "\ufffd", "\ufeffa" }, new HttpRequest("GET", "/%EF%BF%BD/%EF%BB%BFa").Segments);
    }

    [Test]
    public void HeadersAreFoundInAnyCase()
    {
        HttpRequest request = new HttpRequest("PUT", "/").WithHeader("X-Trace", "7");
        Assert.Equal("7", request.Header("x-TRACE"));
        Assert.Null(request.Header("absent"));
        HttpResponse response = HttpResponse.Text(404, "no").WithHeader("x-a", "b");
        Assert.Equal(2, response.Headers.Count);
        Assert.Equal("text/plain; charset=utf-8", response.Headers[0].Text);
    }
}
