#nullable enable
using System.Collections.Generic;

namespace Recoil
{
    /// <summary>Owns data. There is one instance for each partition, on the partition's leader; requests are answered one at a time.</summary>
    public interface IHandler
    {
        /// <summary>Answers one request inside one transaction.</summary>
        /// <remarks>
        /// An exception rolls back everything this call did and reaches the caller as <see cref="ErrorKind.Rejected"/>. The text of a
        /// <see cref="RecoilException"/> reaches it as it is, so that is what refuses a request; any other exception is a mistake, whose
        /// class is told too, and whose stack goes to the package's log. Running out of time, memory or stack rolls back as well, replaces
        /// the instance and reaches the caller as <see cref="ErrorKind.Failed"/>.
        /// <para>
        /// The call may be evaluated again if its writes could not be committed, so it must have no effects but those on
        /// <paramref name="transaction"/>. What it keeps in memory between calls is a cache only, and must survive the rollback of the
        /// call that filled it.
        /// </para>
        /// </remarks>
        byte[] Handle(Transaction transaction, byte[] request);
    }

    /// <summary>Is told when a timer that a transaction set has come due.</summary>
    public interface ITimer
    {
        /// <summary>
        /// Called at least once, in a transaction that also removes the timer, so that its writes happen exactly once. An exception rolls
        /// back and is written to the package's log; the timer fires again after a pause that doubles from 1 s to 1 min.
        /// </summary>
        void Fire(Transaction transaction, byte[] id, byte[] payload);
    }

    /// <summary>Speaks a network protocol. There is an instance for each open connection.</summary>
    public interface IListener
    {
        /// <summary>
        /// Serves one connection until it ends: reads, calls partitions, writes, and blocks doing so, as a thread per connection would.
        /// When this returns or throws, the connection is closed; what it throws is written to the package's log.
        /// </summary>
        void Serve(Connection connection, Router router);
    }

    /// <summary>
    /// Answers HTTP requests. The host owns the server; an instance answers one request at a time and is kept for later ones, so that what
    /// it holds in memory is a cache only.
    /// </summary>
    public interface IHttpHandler
    {
        /// <summary>
        /// Answers one request. An exception is answered with status 500 and written to the package's log: what the client should know
        /// goes into a response.
        /// </summary>
        HttpResponse Respond(HttpRequest request, Router router);
    }

    /// <summary>
    /// Has commands for operators, which <c>recoilctl APP ARGUMENTS…</c> runs. Each call has an instance of its own, which has a router as
    /// that of a listener has, and neither partition nor connection.
    /// </summary>
    public interface IAdmin
    {
        /// <summary>
        /// What <c>recoilctl APP --help</c> lists. An exception ends the instance, with its stack in the package's log: there is no list
        /// then.
        /// </summary>
        IReadOnlyList<Command> Commands();

        /// <summary>Runs the command that the operator typed behind the app's name, and returns what is printed, as it is.</summary>
        /// <remarks>
        /// An exception is printed as an error, and recoilctl fails: the text of a <see cref="RecoilException"/> is told as it is, of any
        /// other exception also the class. The operator may break a command off at any time, so it should be safe to run it again.
        /// </remarks>
        string Run(IReadOnlyList<string> arguments, Router router);
    }

    /// <summary>
    /// Decides where partitions live: the host asks it in the place of its own scheduler. A plan is a function of the view and of nothing
    /// else, so that a test makes a <see cref="View"/> and looks at what comes back. Every plan has an instance of its own and the limits of
    /// a handler's call; of the host, only <see cref="Log"/> and <see cref="Settings"/> are there.
    /// </summary>
    public interface IScheduler
    {
        /// <summary>Where partitions should be: only those that should change, the most urgent first.</summary>
        /// <remarks>
        /// The host checks every answer (nodes, quorum, placement rules). It goes on with its own scheduler, and its log says why, when a
        /// plan is refused, comes too late, or when this throws: the text of a <see cref="RecoilException"/> is told as it is, of any other
        /// exception also the class.
        /// </remarks>
        IReadOnlyList<Placement> Plan(View view);
    }

    /// <summary>
    /// Rehearses what the package usually does while the component is made, so that no instance pays for the first time: the runtime
    /// translates methods when they are first called, which takes a call some ten milliseconds, and each connection has an instance.
    /// </summary>
    public interface IRehearsed
    {
        /// <summary>
        /// Called a thousand times on an object that is dropped then. There is no host, so it plays on <see cref="Fake.FakeCluster"/>, as a
        /// test does. What it leaves in static fields is in every instance from its beginning; an exception fails the build.
        /// </summary>
        void Rehearse();
    }
}
