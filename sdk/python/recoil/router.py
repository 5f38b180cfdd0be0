"""How a listener reaches partitions, wherever their leaders are.

`Router` is the contract's `router` interface; `recoil.fake.FakeCluster` is one with partitions in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Self

from recoil.errors import CallError
from recoil.storage import Storage


class Mode(Enum):
    """What a call may do, and what it may see."""

    WRITE = "write"
    """May write. Answered once its writes are committed on a quorum."""

    READ = "read"
    """Linearizable: sees every write answered before the call was made. Never touches the log."""

    STALE_READ = "stale-read"
    """May be answered by any replica from what it has applied: old, but a state that once was."""


@dataclass(frozen=True, slots=True)
class RoutedCall:
    """A request, and where it goes: to the partition that owns a key (bytes), or to one by its id (a number)."""

    to: bytes | int
    request: bytes
    mode: Mode = Mode.WRITE


class PartitionInfo(NamedTuple):
    """A partition, and the nodes it is on, by their member numbers. `leader` is None during an election."""

    id: int
    leader: int | None
    replicas: tuple[int, ...]
    epoch: int


class Pending(ABC):
    """A call under way. Dropping it forgets the answer, not the call."""

    @abstractmethod
    def is_ready(self) -> bool:
        """True when `wait` would not block."""

    @abstractmethod
    def wait(self) -> bytes:
        """The answer, once: waiting again is a mistake."""


class Subscription(ABC):
    """Messages of one topic, from the moment of subscribing until this is closed or no longer used.

    A subscriber more than 1,024 messages behind loses some.
    """

    @abstractmethod
    def next(self, timeout_ms: int) -> bytes | None:
        """The next message; None when `timeout_ms` have passed without one."""

    @abstractmethod
    def close(self) -> None:
        """Subscribe no longer; `with` does it at its end."""

    def __enter__(self) -> Self:
        """The subscription itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()


class Router(ABC):
    """Calls to partitions. Calls to one partition are answered in the order in which they were made.

    A call that does not succeed raises a `CallError`; those that answer many calls at once hold the error in its place, as
    `asyncio.gather(return_exceptions=True)` does.
    """

    @property
    @abstractmethod
    def storage(self) -> Storage:
        """The storage of the whole app, key by key: what needs no handler."""

    @abstractmethod
    def call(self, call: RoutedCall) -> bytes:
        """Run the handler of one partition and wait for its answer."""

    @abstractmethod
    def call_many(self, calls: Iterable[RoutedCall]) -> list[bytes | CallError]:
        """Many calls in one crossing, the cheapest batch; answers in their order. Each succeeds or fails by itself."""

    @abstractmethod
    def submit(self, call: RoutedCall) -> Pending:
        """Start a call without waiting, to overlap it with other work."""

    @abstractmethod
    def wait_all(self, calls: Iterable[Pending]) -> list[bytes | CallError]:
        """The answers of submitted calls, in the order of `calls`."""

    @abstractmethod
    def transact(self, calls: Iterable[RoutedCall]) -> list[bytes]:
        """All or nothing across partitions, serializable; answers in the order of `calls`.

        All partitions must belong to one Raft group (keys with one owner always do), otherwise `Rejected`.
        """

    @abstractmethod
    def scatter(self, request: bytes, mode: Mode = Mode.WRITE) -> list[bytes | CallError]:
        """One call to every partition, answers in partition order. Not a transaction."""

    @abstractmethod
    def locate(self, key: bytes) -> PartitionInfo:
        """The partition that owns `key`, and where it is."""

    @abstractmethod
    def partitions(self) -> list[PartitionInfo]:
        """Every partition, in the order of their ids."""

    @abstractmethod
    def subscribe(self, topic: bytes) -> Subscription:
        """What handlers of this package publish on `topic` from now on, at most once."""
