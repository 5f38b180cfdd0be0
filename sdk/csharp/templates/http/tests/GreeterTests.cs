using System.Text;
using App;
using Recoil;
using Recoil.Fake;
using Recoil.Testing;

public class GreeterTests
{
    private readonly Greeter greeter = new Greeter();
    private readonly FakeCluster cluster;

    public GreeterTests() => cluster = new FakeCluster(greeter, partitions: 8, groups: 3); // in memory

    private string Get(string path)
    {
        HttpResponse response = greeter.Respond(new HttpRequest("GET", path), cluster);
        return $"{response.Status} {Encoding.UTF8.GetString(response.Body)}";
    }

    [Test]
    public void EachNameHasACountOfItsOwn()
    {
        Assert.Equal("200 hello world, greeting number 1\n", Get("/hello/world"));
        Assert.Equal("200 hello world, greeting number 2\n", Get("/hello/world"));
        Assert.Equal("200 hello moon, greeting number 1\n", Get("/hello/moon"));
        FakeSettings.Set("greeting", "hi");
        Assert.Equal("200 hi moon, greeting number 2\n", Get("/hello/moon"));
        Assert.Equal("404 try /hello/NAME\n", Get("/elsewhere"));
    }
}
