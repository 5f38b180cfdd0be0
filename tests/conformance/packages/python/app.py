"""The conformance package: four roles behind the protocol of `PROTOCOL.md`, the commands of `office` and `planner`'s scheduler."""

import recoil

import anywhere
import owner
from office import Office
from planner import Planner
from protocol import Commands, Invalid, answered, frame, pack, take_frame, unpack
from session import COMMANDS as LISTENER_COMMANDS
from session import Session

__all__ = ["Frames", "Office", "Owner", "Planner", "Web"]


def run(request: bytes, storage: recoil.Storage, commands: Commands, on: object) -> list[bytes]:
    """Runs the command of a request: one of those that run anywhere, or one of `commands`, which works on `on`."""
    match unpack(request):
        case [name, *arguments] if name in anywhere.COMMANDS:
            return anywhere.COMMANDS.run(name, storage, arguments)
        case [name, *arguments]:
            return commands.run(name, on, arguments)
    raise Invalid("an empty list has no command")


def serve(request: bytes, session: Session) -> bytes:
    """The answer to a request of a client."""
    try:
        return answered(run(request, session.router.storage, LISTENER_COMMANDS, session))
    except recoil.Error as error:
        return answered(error)


class Owner(recoil.Handler, recoil.Timer):
    """Owns the data, and remembers which timers fired."""

    def handle(self, transaction: recoil.Transaction, request: bytes) -> bytes:
        """Run the command of a request."""
        try:
            return pack(run(request, transaction, owner.COMMANDS, transaction))
        except owner.AsToldError:
            raise
        except recoil.Error as error:
            raise recoil.Error(f"{error.kind}: {error.reason}") from error

    def fire(self, transaction: recoil.Transaction, id: bytes, payload: bytes) -> None:
        """Put the payload where the protocol looks for it."""
        transaction.put(b"fired:" + id, payload)


class Frames(recoil.Listener):
    """Serves the protocol over TCP."""

    def serve(self, connection: recoil.Connection, router: recoil.Router) -> None:
        """Answer frame after frame until the client ends, or sends one that is too long."""
        session = Session(router, connection.peer_address, connection)
        input = bytearray()
        while data := connection.read():
            input += data
            while (request := take_frame(input)) is not None:
                connection.write(frame(serve(request, session)))


class Web(recoil.HttpHandler):
    """Serves the protocol over HTTP, and what is asked of HTTP alone."""

    def respond(self, request: recoil.HttpRequest, router: recoil.Router) -> recoil.HttpResponse:
        """Answer by the path."""
        match request.method, request.path.split("/")[1:]:
            case "POST", ["call"]:
                return recoil.HttpResponse(body=serve(request.body, Session(router, request.peer_address)))
            case _, ["mirror"]:
                given = [("x-method", request.method), ("x-path", request.path), ("x-query", request.query)]
                mirrored = [(name, value) for name, value in request.headers if name.startswith("x-")]
                kind = ("content-type", "application/octet-stream")
                return recoil.HttpResponse(200, [*given, *mirrored, kind], request.body)
            case _, ["status", number] if number.isdigit():
                return recoil.HttpResponse(int(number))
            case _, ["fail"]:
                raise recoil.Error("the path asks for an error")
            case _, ["throw"]:
                raise RuntimeError("the path asks for an exception")
        return recoil.HttpResponse.text("not found", status=404)
