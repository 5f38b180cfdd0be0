using System.Collections.Generic;
using System.Linq;
using System.Text;
using Recoil;
using Recoil.Fake;
using Recoil.Testing;

/// <summary>Commands are tested as an author would: on a cluster in memory.</summary>
public class AdminTests
{
    /// <summary>Keeps notes, and says what was there before.</summary>
    private sealed class Notes : IHandler, IAdmin
    {
        public byte[] Handle(Transaction transaction, byte[] request)
        {
            byte[] key = Encoding.UTF8.GetBytes("note");
            byte[] before = transaction.Get(key);
            transaction.Put(key, request);
            return before ?? new byte[0];
        }

        public IReadOnlyList<Command> Commands() => new[] { new Command("note put", "KEY TEXT", "Keep a text.") };

        public string Run(IReadOnlyList<string> arguments, Router router)
        {
            if (arguments.Count != 4 || !arguments.Take(2).SequenceEqual(new[] { "note", "put" }))
                throw new RecoilException("write note put KEY TEXT");
            byte[] before = router.Call(RoutedCall.Write(Encoding.UTF8.GetBytes(arguments[2]), Encoding.UTF8.GetBytes(arguments[3])));
            return $"{arguments[2]} was '{Encoding.UTF8.GetString(before)}'";
        }
    }

    [Test]
    public void ACommandReachesTheDataByTheRouter()
    {
        var notes = new Notes();
        var cluster = new FakeCluster(notes, partitions: 4, groups: 2);
        Assert.Equal("größe was ''", notes.Run(new[] { "note", "put", "größe", "one" }, cluster));
        Assert.Equal("größe was 'one'", notes.Run(new[] { "note", "put", "größe", "two" }, cluster));
        Assert.Equal("write note put KEY TEXT", Assert.Throws<RecoilException>(() => notes.Run(new[] { "note" }, cluster)).Reason);
        Command command = notes.Commands().Single();
        Assert.Equal(("note put", "KEY TEXT", "Keep a text."), (command.Words, command.Usage, command.Help));
    }
}
