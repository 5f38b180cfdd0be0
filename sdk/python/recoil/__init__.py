"""Write a Recoil package in Python.

A package is a WebAssembly component. The classes of its module are its roles: a `Handler` owns data, one instance for each
partition, each request a transaction; a `Timer` is told when time has come; a `Listener` speaks a network protocol and sends
requests to partitions; an `HttpHandler` answers HTTP requests; an `Admin` has commands for operators; a `Scheduler` places the
partitions of a cluster.

    import recoil

    class Counter(recoil.Handler):
        '''Counts requests for each key.'''

        def handle(self, transaction: recoil.Transaction, request: bytes) -> bytes:
            seen = int(transaction.get(request) or 0) + 1
            transaction.put(request, b"%d" % seen)
            return b"%d" % seen

The same code runs on an in-memory partition, natively, in a unit test:

    from recoil.fake import FakePartition

    partition = FakePartition(Counter())
    assert partition.write(b"apple") == b"1"
    assert partition.write(b"apple") == b"2"

Invariant: package code reaches the host through `Transaction`, `Router` and `Connection` and the functions of `log`,
`settings` and `consensus`, so that `recoil.fake` can take the host's place in a test. Deliberately absent: `async` (the
contract is blocking, an instance is cheap, and overlap comes from `Router.call_many`) and serialization (bring your own).
"""

from recoil import admin, consensus, encoding, log, scheduler, settings
from recoil.admin import Command
from recoil.connection import Connection
from recoil.errors import (
    Broken,
    CallError,
    Closed,
    Conflict,
    Disconnected,
    Error,
    Failed,
    LeadershipLost,
    QuotaExceeded,
    ReadOnly,
    Rejected,
    StorageError,
    StorageUnavailable,
    TimedOut,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)
from recoil.http import HttpRequest, HttpResponse
from recoil.roles import Admin, Handler, HttpHandler, Listener, Scheduler, Timer
from recoil.router import Mode, PartitionInfo, Pending, RoutedCall, Router, Subscription
from recoil.storage import ALL_KEYS, Entry, KeyRange, Storage
from recoil.transaction import PartitionPlace, Transaction

__all__ = [
    "ALL_KEYS",
    "Admin",
    "Broken",
    "CallError",
    "Closed",
    "Command",
    "Conflict",
    "Connection",
    "Disconnected",
    "Entry",
    "Error",
    "Failed",
    "Handler",
    "HttpHandler",
    "HttpRequest",
    "HttpResponse",
    "KeyRange",
    "LeadershipLost",
    "Listener",
    "Mode",
    "PartitionInfo",
    "PartitionPlace",
    "Pending",
    "QuotaExceeded",
    "ReadOnly",
    "Rejected",
    "RoutedCall",
    "Router",
    "Scheduler",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "Subscription",
    "TimedOut",
    "Timer",
    "TooLarge",
    "Transaction",
    "Unavailable",
    "UnknownOutcome",
    "admin",
    "consensus",
    "encoding",
    "log",
    "scheduler",
    "settings",
]
