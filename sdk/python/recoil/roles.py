"""What a package can be: the classes to extend.

The build finds the classes of the package's module that extend these, and gives the component just those roles; one class
may have several. A class is instantiated without arguments in each instance of the component, when its first call comes:
what the module does is done when the package is built, what `__init__` does when an instance starts.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from recoil.admin import Command
from recoil.connection import Connection
from recoil.http import HttpRequest, HttpResponse
from recoil.router import Router
from recoil.scheduler import Placement, View
from recoil.transaction import Transaction


class Handler(ABC):
    """Owns data. One instance for each partition, on the partition's leader; requests are answered one at a time."""

    @abstractmethod
    def handle(self, transaction: Transaction, request: bytes) -> bytes:
        """Answer one request inside one transaction.

        An exception rolls back everything this call did and reaches the caller as `Rejected`. The call may be evaluated
        again if its writes could not be committed, so it must have no effects but those on `transaction`; what `self` keeps
        between calls is a cache only, and must survive the rollback of the call that filled it.
        """


class Timer(ABC):
    """Is told when a timer that a transaction set has come due."""

    @abstractmethod
    def fire(self, transaction: Transaction, id: bytes, payload: bytes) -> None:
        """Called at least once, in a transaction that also removes the timer, so that its writes happen exactly once.

        An exception rolls back, and the timer fires again after a pause that doubles from 1 s to 1 min.
        """


class Listener(ABC):
    """Speaks a network protocol. An instance of its own for each open connection."""

    @abstractmethod
    def serve(self, connection: Connection, router: Router) -> None:
        """Serve one connection until it ends: read, call partitions, write, as a thread per connection would.

        When this returns the connection is closed; an exception is written to the package's log.
        """


class HttpHandler(ABC):
    """Answers HTTP requests. The host owns the server.

    An instance answers one request at a time and is kept for later ones, so that what it holds in memory is a cache only.
    """

    @abstractmethod
    def respond(self, request: HttpRequest, router: Router) -> HttpResponse:
        """Answer one request.

        An exception is answered with status 500 and written to the package's log; what the client should know goes into an
        answer.
        """


class Admin(ABC):
    """Has commands for operators, which `recoilctl APP ARGUMENTS…` runs.

    Each call has an instance of its own, which has a router as that of a listener has, and neither partition nor connection.
    """

    @abstractmethod
    def commands(self) -> Sequence[Command]:
        """What `recoilctl APP --help` lists.

        An exception ends the instance, with its traceback in the package's log: there is no list then.
        """

    @abstractmethod
    def run(self, arguments: Sequence[str], router: Router) -> str:
        """Run the command that the operator typed behind the app's name, and return what is printed, as it is.

        An exception is printed as an error, and recoilctl fails. The operator may break a command off at any time, so it
        should be safe to run it again.
        """


class Scheduler(ABC):
    """Decides where partitions live, in the place of the host's own scheduler. A package with no other role needs no handler.

    Each plan is made by an instance of its own, and is a function of the view: of the host, only `log` and `settings` are
    there.
    """

    @abstractmethod
    def plan(self, view: View) -> Sequence[Placement]:
        """Where partitions should be: only those that should change, the most urgent first.

        The host checks every answer, and goes on with its own scheduler when one is refused or comes too late, and when this
        raises an exception; why is in the node's log.
        """
