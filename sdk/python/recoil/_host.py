"""The SDK's interfaces on the host's functions. Imported in a component only, where componentize-py has made the bindings.

Invariant: no logic; each method is one call of the contract. What comes back as `Err` leaves as the exception of its kind:
`Err` is the bindings' own, and frozen, so that it must not pass through `with` and other code that notes things on
exceptions.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from componentize_py_types import Err, Ok
from wit_world.imports import consensus, log, partition, router, settings, storage, tcp

from recoil import errors
from recoil._check import U64_MAX, octets, text, whole
from recoil.connection import Connection
from recoil.router import Mode, PartitionInfo, Pending, RoutedCall, Router, Subscription
from recoil.storage import Entry, KeyRange, Storage
from recoil.transaction import PartitionPlace, Transaction

_ERRORS: dict[type[Any], type[errors.Error]] = {
    storage.Error_TooLarge: errors.TooLarge,
    storage.Error_ReadOnly: errors.ReadOnly,
    storage.Error_QuotaExceeded: errors.QuotaExceeded,
    storage.Error_Unavailable: errors.StorageUnavailable,
    tcp.Error_Closed: errors.Closed,
    tcp.Error_TimedOut: errors.TimedOut,
    tcp.Error_Failed: errors.Broken,
}

_CALL_ERRORS: dict[type[Any], type[errors.CallError]] = {
    router.Error_Rejected: errors.Rejected,
    router.Error_Failed: errors.Failed,
    router.Error_UnknownOutcome: errors.UnknownOutcome,
    router.Error_Unavailable: errors.Unavailable,
    router.Error_Conflict: errors.Conflict,
}

_MODES = {
    Mode.WRITE: router.Mode.WRITE,
    Mode.READ: router.Mode.READ,
    Mode.STALE_READ: router.Mode.STALE_READ,
}


_T = TypeVar("_T")
_E = TypeVar("_E", bound=errors.Error)


def _of(kinds: dict[type[Any], type[_E]], error: Any) -> _E:
    kind = kinds[type(error)]
    return kind(error.value) if hasattr(error, "value") else kind()


def _error(error: Err[Any]) -> errors.Error:
    """The exception of an error's kind."""
    return _of(_ERRORS, error.value)


def _call_error(error: Err[Any]) -> errors.CallError:
    """The exception of a routed call's error."""
    return _of(_CALL_ERRORS, error.value)


def _range(within: KeyRange) -> storage.KeyRange:
    end = None if within.end is None else octets("the end of a range", within.end)
    return storage.KeyRange(octets("the start of a range", within.start), end)


class HostStorage(Storage):
    """The contract's `storage`: of the partition in a handler, of the whole app in a listener."""

    def get(self, key: bytes) -> bytes | None:
        try:
            return storage.get(octets("a key", key))
        except Err as error:
            raise _error(error) from None

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        try:
            return storage.get_many([octets("a key", key) for key in keys])
        except Err as error:
            raise _error(error) from None

    def put(self, key: bytes, value: bytes) -> None:
        try:
            storage.put(octets("a key", key), octets("a value", value))
        except Err as error:
            raise _error(error) from None

    def put_many(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        try:
            storage.put_many([storage.Entry(octets("a key", key), octets("a value", value)) for key, value in entries])
        except Err as error:
            raise _error(error) from None

    def remove(self, key: bytes) -> None:
        try:
            storage.remove(octets("a key", key))
        except Err as error:
            raise _error(error) from None

    def remove_range(self, within: KeyRange) -> None:
        try:
            storage.remove_range(_range(within))
        except Err as error:
            raise _error(error) from None

    def scan_page(self, within: KeyRange, limit: int, *, reverse: bool = False) -> Sequence[Entry]:
        try:
            page = storage.scan(_range(within), whole("a limit", limit), bool(reverse))
        except Err as error:
            raise _error(error) from None
        return [Entry(entry.key, entry.value) for entry in page]


class HostTransaction(HostStorage, Transaction):
    """The call that the host is in."""

    @property
    def place(self) -> PartitionPlace:
        info = partition.current()
        return PartitionPlace(info.keyspace, info.id, info.count, info.epoch)

    @property
    def now_us(self) -> int:
        return partition.now()

    @property
    def is_read_only(self) -> bool:
        return partition.is_read_only()

    def set_timer(self, id: bytes, at_us: int, payload: bytes = b"") -> None:
        partition.set_timer(octets("an id", id), whole("a time", at_us, U64_MAX), octets("a payload", payload))

    def cancel_timer(self, id: bytes) -> None:
        partition.cancel_timer(octets("an id", id))

    def publish(self, topic: bytes, message: bytes) -> None:
        partition.publish(octets("a topic", topic), octets("a message", message))


def _routed(call: RoutedCall) -> router.RoutedCall:
    to: router.Address
    if isinstance(call.to, int):
        to = router.Address_Partition(whole("a partition's id", call.to))
    else:
        to = router.Address_Key(octets("a key", call.to))
    return router.RoutedCall(to, octets("a request", call.request), _MODES[call.mode])


def _answers(results: list[Ok[bytes] | Err[Any]]) -> list[bytes | errors.CallError]:
    return [result.value if isinstance(result, Ok) else _call_error(result) for result in results]


class HostPending(Pending):
    """A call under way."""

    def __init__(self, pending: router.Pending) -> None:
        self._pending: router.Pending | None = pending

    def _held(self) -> router.Pending:
        if self._pending is None:
            raise RuntimeError("this call was waited for already")
        return self._pending

    def take(self) -> router.Pending:
        """What the host knows the call by, for the one who waits for it."""
        pending = self._held()
        self._pending = None
        return pending

    def is_ready(self) -> bool:
        return self._held().is_ready()

    def wait(self) -> bytes:
        try:
            return router.wait(self.take())
        except Err as error:
            raise _call_error(error) from None


class HostSubscription(Subscription):
    """Messages of a topic."""

    def __init__(self, subscription: router.Subscription) -> None:
        self._subscription: router.Subscription | None = subscription

    def held(self) -> router.Subscription:
        """What the host knows the subscription by."""
        if self._subscription is None:
            raise RuntimeError("this subscription is closed")
        return self._subscription

    def next(self, timeout_ms: int) -> bytes | None:
        return self.held().next(whole("a timeout", timeout_ms))

    def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.__exit__(None, None, None)


class HostRouter(Router):
    """The contract's `router`."""

    @property
    def storage(self) -> Storage:
        return _STORAGE

    def call(self, call: RoutedCall) -> bytes:
        try:
            return router.call(_routed(call))
        except Err as error:
            raise _call_error(error) from None

    def call_many(self, calls: Iterable[RoutedCall]) -> list[bytes | errors.CallError]:
        return _answers(router.call_many([_routed(call) for call in calls]))

    def submit(self, call: RoutedCall) -> Pending:
        return HostPending(router.submit(_routed(call)))

    def wait_all(self, calls: Iterable[Pending]) -> list[bytes | errors.CallError]:
        return _answers(router.wait_all([_of_host(HostPending, call).take() for call in calls]))

    def transact(self, calls: Iterable[RoutedCall]) -> list[bytes]:
        try:
            return router.transact([_routed(call) for call in calls])
        except Err as error:
            raise _call_error(error) from None

    def scatter(self, request: bytes, mode: Mode = Mode.WRITE) -> list[bytes | errors.CallError]:
        return _answers(router.scatter(octets("a request", request), _MODES[mode]))

    def locate(self, key: bytes) -> PartitionInfo:
        return _place(router.locate(octets("a key", key)))

    def partitions(self) -> list[PartitionInfo]:
        return [_place(info) for info in router.partitions()]

    def subscribe(self, topic: bytes) -> Subscription:
        return HostSubscription(router.subscribe(octets("a topic", topic)))


def _of_host(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} is not of this router")
    return value


def _place(info: router.PartitionInfo) -> PartitionInfo:
    return PartitionInfo(info.id, info.leader, tuple(info.replicas), info.epoch)


class HostConnection(Connection):
    """A client's connection."""

    def __init__(self, connection: tcp.Connection) -> None:
        self._connection = connection

    @property
    def peer_address(self) -> str:
        return self._connection.peer_address()

    def read(self, limit: int = 65_536) -> bytes:
        try:
            return self._connection.read(whole("a limit", limit))
        except Err as error:
            raise _error(error) from None

    def write(self, data: bytes) -> None:
        try:
            self._connection.write(octets("data", data))
        except Err as error:
            raise _error(error) from None

    def wait_any(self, subscriptions: Sequence[Subscription] = (), *, timeout_ms: int) -> Connection | Subscription | None:
        held = [_of_host(HostSubscription, subscription).held() for subscription in subscriptions]
        match self._connection.wait_any(held, whole("a timeout", timeout_ms)):
            case tcp.Event_Message(at):
                return subscriptions[at]
            case tcp.Event_Readable():
                return self
            case _:
                return None


_STORAGE = HostStorage()
TRANSACTION = HostTransaction()
ROUTER = HostRouter()

_in_a_call = False


def begin() -> None:
    """Says that a call has come: until then the module is being imported, at build time, and there is no host."""
    global _in_a_call
    _in_a_call = True


def _must_be_in_a_call(what: str) -> None:
    if not _in_a_call:
        raise RuntimeError(
            f"{what} is known only when the package runs, and its modules are imported when it is built: "
            "ask in a method of a role, or in its __init__"
        )


def setting(name: str) -> str | None:
    """The value of a setting."""
    _must_be_in_a_call("a setting")
    return settings.get(text(name))


def write_log(level: str, message: str) -> None:
    """Write a line; while the package is built there is no log, and what builds it shows what is printed."""
    if _in_a_call:
        log.write(log.Level[level.upper()], text(message))
    else:
        print(f"{level}: {message}")


def group_status() -> tuple[int, str, int, int | None, int, int, list[int]]:
    """What the replica knows of its group, in the order of the contract's record."""
    _must_be_in_a_call("the Raft group")
    it = consensus.status()
    return it.group, it.role.name.lower(), it.term, it.leader, it.committed, it.applied, it.voters


def barrier() -> int:
    """Confirm leadership."""
    _must_be_in_a_call("the Raft group")
    try:
        return consensus.barrier()
    except Err as error:
        raise errors.LeadershipLost(error.value) from None
