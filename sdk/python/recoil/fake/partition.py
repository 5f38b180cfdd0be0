"""One partition in memory."""

from __future__ import annotations

import traceback
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, TracebackType

from recoil import log
from recoil._check import U64_MAX, octets, whole
from recoil.errors import ReadOnly, TooLarge
from recoil.roles import Handler, Timer
from recoil.storage import Entry, KeyRange
from recoil.transaction import PartitionPlace, Transaction

KEY_BYTES_MAX = 65_514
VALUE_BYTES_MAX = 8 << 20
TRANSACTION_BYTES_MAX = 16 << 20

ONLY_PARTITION = PartitionPlace("default", 0, 1, 1)
TIMER_PAUSE_US = 1_000_000
"""After this a timer that failed is due again."""


class FakePartition:
    """A partition in memory, with everything a transaction can do to it in plain sight.

    `handler` answers `write` and `read`; timers fire on `timer`, or on the handler if it is a `Timer` too.
    """

    def __init__(self, handler: Handler, timer: Timer | None = None, *, place: PartitionPlace = ONLY_PARTITION) -> None:
        """An empty partition, the only one of its keyspace, at a time in 2025."""
        self._handler = handler
        self._timer = timer if timer is not None else handler if isinstance(handler, Timer) else None
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._timers: dict[bytes, tuple[int, bytes]] = {}
        self.place = place
        self.published: list[tuple[bytes, bytes]] = []
        """Topic and message of everything published so far, in commit order."""
        self.now_us = 1_750_000_000_000_000
        """The time of the last transaction; each writing one is at least a microsecond later."""
        self.page_entries = 100
        """The most entries a page of a scan holds, whatever was asked for."""
        self.on_publish: Callable[[bytes, bytes], None] = lambda topic, message: None
        """Is told of each message that is published, when it is."""

    @property
    def rows(self) -> Mapping[bytes, bytes]:
        """All rows."""
        return MappingProxyType(self._rows)

    @property
    def timers(self) -> Mapping[bytes, tuple[int, bytes]]:
        """Timers that are set: when, and with which payload, by id."""
        return MappingProxyType(self._timers)

    def insert(self, key: bytes, value: bytes | None) -> None:
        """Put a row there, or take it away with None, outside of any transaction."""
        if value is not None:
            if key not in self._rows:
                insort(self._keys, key)
            self._rows[key] = value
        elif key in self._rows:
            del self._rows[key]
            del self._keys[bisect_left(self._keys, key)]

    def keys(self, within: KeyRange) -> list[bytes]:
        """The keys of a range, in order."""
        start = bisect_left(self._keys, within.start)
        end = None if within.end is None else bisect_left(self._keys, within.end)
        return self._keys[start:end]

    def write(self, request: bytes) -> bytes:
        """Answer a request that may write, in a transaction of its own. An exception has changed nothing."""
        with self.transaction() as transaction:
            return self.answer(transaction, request)

    def read(self, request: bytes) -> bytes:
        """Answer a request that may only read."""
        with self.transaction(read_only=True) as transaction:
            return self.answer(transaction, request)

    def answer(self, transaction: FakeTransaction, request: bytes) -> bytes:
        """What the handler answers, checked as the host does."""
        answer = self._handler.handle(transaction, octets("a request", request))
        return octets(f"what {type(self._handler).__name__}.handle returns", answer)

    def transaction(self, *, read_only: bool = False) -> FakeTransaction:
        """A transaction for `with`: what it did stays if the block ends, and is undone if an exception leaves it."""
        if not read_only:
            self.now_us += 1
        return FakeTransaction(self, read_only)

    def advance(self, microseconds: int) -> int:
        """Let time pass, and fire what comes due, in the order of time; answers how many timers fired.

        A timer that fails stays, due a second later, and the traceback goes to the log, as on a cluster.
        """
        until = self.now_us + microseconds
        fired = 0
        while due := [(at, id) for id, (at, _) in self._timers.items() if at <= until]:
            at, id = min(due)
            self.now_us = max(self.now_us, at)
            self._fire(id)
            fired += 1
        self.now_us = max(self.now_us, until)
        return fired

    def _fire(self, id: bytes) -> None:
        _, payload = self._timers[id]
        if self._timer is None:
            raise TypeError("the test's partition has no Timer: name one, as in FakePartition(handler, timer)")
        try:
            with self.transaction() as transaction:
                transaction.cancel_timer(id)
                self._timer.fire(transaction, id, payload)
        except Exception as error:
            log.write(log.Level.ERROR, "".join(traceback.format_exception(error)).rstrip())
            self._timers[id] = (self.now_us + TIMER_PAUSE_US, payload)


class FakeTransaction(Transaction):
    """A call in progress on a `FakePartition`."""

    def __init__(self, partition: FakePartition, read_only: bool) -> None:
        """A transaction that `with` ends."""
        self._partition = partition
        self._read_only = read_only
        self._undo: list[tuple[bytes, bytes | None]] = []
        self._timers_before = dict(partition.timers)
        self._publishes: list[tuple[bytes, bytes]] = []
        self._bytes = 0

    def __enter__(self) -> FakeTransaction:
        """The transaction itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Commit, or undo everything if there was an exception."""
        if kind is None:
            self._partition.published += self._publishes
            for topic, message in self._publishes:
                self._partition.on_publish(topic, message)
            return
        for key, before in reversed(self._undo):
            self._partition.insert(key, before)
        self._partition._timers = self._timers_before

    def get(self, key: bytes) -> bytes | None:
        return self._partition.rows.get(octets("a key", key))

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        key, value = octets("a key", key), octets("a value", value)
        if len(key) > KEY_BYTES_MAX:
            raise TooLarge(f"the key has {len(key)} bytes: the limit is {KEY_BYTES_MAX}")
        if len(value) > VALUE_BYTES_MAX:
            raise TooLarge(f"the value has {len(value)} bytes: the limit is {VALUE_BYTES_MAX}")
        self._count(len(key) + len(value))
        self._set(key, value)

    def put_many(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in entries:
            self.put(key, value)

    def remove(self, key: bytes) -> None:
        key = octets("a key", key)
        self._count(len(key))
        self._set(key, None)

    def remove_range(self, within: KeyRange) -> None:
        self._count(len(within.start))
        for key in self._partition.keys(within):
            self._set(key, None)

    def scan_page(self, within: KeyRange, limit: int, *, reverse: bool = False) -> Sequence[Entry]:
        keys = self._partition.keys(within)
        if reverse:
            keys.reverse()
        page = keys[: min(whole("a limit", limit), self._partition.page_entries)]
        return [Entry(key, self._partition.rows[key]) for key in page]

    @property
    def place(self) -> PartitionPlace:
        return self._partition.place

    @property
    def now_us(self) -> int:
        return self._partition.now_us

    @property
    def is_read_only(self) -> bool:
        return self._read_only

    def set_timer(self, id: bytes, at_us: int, payload: bytes = b"") -> None:
        self._must_write("set_timer")
        when = whole("a time", at_us, U64_MAX)
        self._partition._timers[octets("an id", id)] = (when, octets("a payload", payload))

    def cancel_timer(self, id: bytes) -> None:
        self._must_write("cancel_timer")
        self._partition._timers.pop(octets("an id", id), None)

    def publish(self, topic: bytes, message: bytes) -> None:
        self._publishes.append((octets("a topic", topic), octets("a message", message)))

    def _must_write(self, what: str) -> None:
        if self._read_only:
            raise RuntimeError(f"{what} in a read-only call ends the instance: ask transaction.is_read_only first")

    def _count(self, size: int) -> None:
        if self._read_only:
            raise ReadOnly
        if self._bytes + size > TRANSACTION_BYTES_MAX:
            raise TooLarge(f"the writes come to {self._bytes + size} bytes: the limit is {TRANSACTION_BYTES_MAX}")
        self._bytes += size

    def _set(self, key: bytes, value: bytes | None) -> None:
        self._undo.append((key, self._partition.rows.get(key)))
        self._partition.insert(key, value)
