"""What the component exports, made of an author's classes.

The build writes a module of a few lines that calls `start` and the functions named after the roles, and has
componentize-py make a component of it. That imports them, and keeps the interpreter's memory as it then is: every instance
begins there.

An exception that leaves a role becomes the contract's `err`, so that it costs the call and not the instance. Its traceback
goes to the package's log first, unless it is an `Error`, which is meant for the caller.
"""

import gc
import linecache
import logging
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar

# What the standard library imports when it is first used: a component has no files to import it from.
import _strptime  # noqa: F401
import encodings.ascii
import encodings.cp1252
import encodings.latin_1
import encodings.utf_16
import encodings.utf_32
import encodings.utf_8_sig

from componentize_py_types import Err
from wit_world.imports import tcp

from recoil import _host, admin as entries, errors, log, scheduler as records
from recoil._check import octets, text, whole
from recoil.http import HttpRequest, HttpResponse
from recoil.roles import Admin, Handler, HttpHandler, Listener, Scheduler, Timer

_T = TypeVar("_T")
_instances: dict[type, Any] = {}


def start() -> None:
    """What is done once, when the package is built: the end of its imports."""
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)  # a line is in the log when it was printed
    logging.basicConfig(handlers=[log.LogHandler()], level=logging.INFO)
    _keep_sources()
    # What is there now stays: the collector need not look at it in every instance again, and leaves its memory shared.
    gc.collect()
    gc.freeze()


def _keep_sources() -> None:
    """Keeps the text of the package's modules, for tracebacks: a component has no files to read it from."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py") and not file.startswith(("/python/", "/bundled/")) and Path(file).exists():
            source = Path(file).read_text("utf-8", "replace")
            # Without a modification time the entry is not looked up again.
            linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)


def _instance(role: type[_T]) -> _T:
    """The one object of a class. It is made when the first call comes, so that `__init__` may ask the host."""
    if role not in _instances:
        _host.begin()
        _instances[role] = role()
    instance: _T = _instances[role]
    return instance


def _guarded(body: Callable[[], _T]) -> _T:
    """Runs a call, and makes an error of the exception that leaves it."""
    try:
        return body()
    except errors.Error as error:
        told = errors.told(error)
    except Exception as error:
        if advice := _advice(error):
            error.add_note(advice)
        log.write(log.Level.ERROR, _trace(error))
        told = errors.told(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    raise Err(text(told))


def _advice(error: Exception) -> str | None:
    """What Python does not say of what a component does not have."""
    if isinstance(error, ModuleNotFoundError):
        return "A component has no files to import from: import this at the top of a module, for the build to see"
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return "Threads are not supported: an instance answers one call at a time; Router.call_many and Router.submit overlap calls"
    if any(frame.f_code.co_filename == "/python/socket.py" for frame, _ in traceback.walk_tb(error.__traceback__)):
        return "Sockets are not supported: a Listener or an HttpHandler is given its connections, and a Router reaches partitions"
    if isinstance(error, FileNotFoundError):
        return "Files are not supported: Storage keeps data"
    return None


def _trace(error: Exception) -> str:
    """The traceback from the author's own code on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    lines = "".join(traceback.format_exception(error.with_traceback(trace))).rstrip()
    return re.sub(r'File "/\d+/', 'File "', lines)  # componentize-py numbers the folders it was given


def handler(role: type[Handler]) -> type:
    """The export `handler`."""

    class Exported:
        def handle(self, request: bytes) -> bytes:
            return _guarded(
                lambda: octets(f"what {role.__name__}.handle returns", _instance(role).handle(_host.TRANSACTION, request))
            )

    return Exported


def timer(role: type[Timer]) -> type:
    """The export `timer`."""

    class Exported:
        def fire(self, id: bytes, payload: bytes) -> None:
            _guarded(lambda: _instance(role).fire(_host.TRANSACTION, id, payload))

    return Exported


def tcp_listener(role: type[Listener]) -> type:
    """The export `tcp-listener`."""

    class Exported:
        def serve(self, connection: tcp.Connection) -> None:
            with connection:
                _guarded(lambda: _instance(role).serve(_host.HostConnection(connection), _host.ROUTER))

    return Exported


def http_handler(role: type[HttpHandler]) -> type:
    """The export `http-handler`."""
    from wit_world.exports import http_handler as http  # is only in the bindings of packages that have the role

    def respond(request: http.Request) -> http.Response:
        asked = HttpRequest(request.method, request.path, request.query, request.headers, request.body, request.peer_address)
        answer = _instance(role).respond(asked, _host.ROUTER)
        if not isinstance(answer, HttpResponse):
            raise TypeError(f"what {role.__name__}.respond returns must be HttpResponse, not {type(answer).__name__}")
        headers = [(text(name), _header(value)) for name, value in answer.headers]
        return http.Response(whole("a status", answer.status, 599), headers, octets("a body", answer.body))

    class Exported:
        def handle(self, request: http.Request) -> http.Response:
            return _guarded(lambda: respond(request))

    return Exported


def _header(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else octets("a header", value)


def admin(role: type[Admin]) -> type:
    """The export `admin`."""
    from wit_world.exports import admin as wit  # is only in the bindings of packages that have the role

    def command(it: entries.Command) -> wit.Command:
        if not isinstance(it, entries.Command):
            raise TypeError(f"what {role.__name__}.commands returns must be a list of Command, not of {type(it).__name__}")
        return wit.Command([text(word) for word in it.words.split()], text(it.usage), text(it.help))

    def commands() -> list[wit.Command]:
        answer = _instance(role).commands()
        if not isinstance(answer, Sequence):
            raise TypeError(f"what {role.__name__}.commands returns must be a list of Command, not {type(answer).__name__}")
        return [command(it) for it in answer]

    def run(arguments: list[str]) -> str:
        output = _instance(role).run(arguments, _host.ROUTER)
        if not isinstance(output, str):
            raise TypeError(f"what {role.__name__}.run returns must be str, not {type(output).__name__}")
        return text(output)

    class Exported:
        def commands(self) -> list[wit.Command]:
            try:
                return commands()
            except Exception as error:
                # The contract has no error for this: what is raised ends the instance.
                log.write(log.Level.ERROR, _trace(error))
                raise

        def run(self, arguments: list[str]) -> str:
            return _guarded(lambda: run(arguments))

    return Exported


def scheduler(role: type[Scheduler]) -> type:
    """The export `scheduler`."""
    from wit_world.exports import scheduler as wit  # is only in the bindings of packages that have the role

    def partition(it: wit.Partition) -> records.Partition:
        load = it.load
        costs = records.Load(load.reads_per_second, load.writes_per_second, load.cpu_seconds_per_second, load.bytes)
        return records.Partition(it.keyspace, it.id, it.replicas, costs)

    def node(it: wit.Node) -> records.Node:
        state = records.NodeState[it.state.name]
        return records.Node(it.id, state, it.locality, it.capacity_bytes, it.used_bytes, it.cpu_load)

    def rule(it: wit.Rule) -> records.Rule:
        return records.Rule(it.keyspace, it.replication, it.required, it.spread_by, it.leader_preference)

    def placement(it: records.Placement) -> wit.Placement:
        if not isinstance(it, records.Placement):
            raise TypeError(f"what {role.__name__}.plan returns must be a list of Placement, not of {type(it).__name__}")
        replicas = [whole("a replica", replica) for replica in it.replicas]
        return wit.Placement(whole("a keyspace", it.keyspace), whole("a partition's id", it.id), replicas, text(it.reason))

    def plan(view: wit.View) -> list[wit.Placement]:
        nodes, rules = [node(it) for it in view.nodes], [rule(it) for it in view.rules]
        shown = records.View(nodes, rules, [partition(it) for it in view.partitions])
        answer = _instance(role).plan(shown)
        if not isinstance(answer, Sequence):
            raise TypeError(f"what {role.__name__}.plan returns must be a list of Placement, not {type(answer).__name__}")
        return [placement(it) for it in answer]

    class Exported:
        def plan(self, view: wit.View) -> list[wit.Placement]:
            return _guarded(lambda: plan(view))

    return Exported
