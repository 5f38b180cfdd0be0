"""The call that a handler or timer is in: its partition's storage, its time, its timers and what it publishes."""

from abc import abstractmethod
from dataclasses import dataclass

from recoil.storage import Storage


@dataclass(frozen=True, slots=True)
class PartitionPlace:
    """Which partition a transaction runs on: `id` of `count` in `keyspace`; `epoch` grows when it moves."""

    keyspace: str
    id: int
    count: int
    epoch: int


class Transaction(Storage):
    """One request's transaction on one partition. Every effect of it happens when the request succeeds, or not at all."""

    @property
    @abstractmethod
    def place(self) -> PartitionPlace:
        """Which partition this is."""

    @property
    @abstractmethod
    def now_us(self) -> int:
        """Microseconds since the Unix epoch.

        The same throughout the call, and greater than that of every earlier writing transaction of this partition.
        """

    @property
    @abstractmethod
    def is_read_only(self) -> bool:
        """True when the caller asked for a read; writes then raise `ReadOnly`."""

    @abstractmethod
    def set_timer(self, id: bytes, at_us: int, payload: bytes = b"") -> None:
        """Have `Timer.fire` called with `payload`, not before `at_us` (microseconds since the Unix epoch).

        The same `id` replaces. Only in writing transactions of a package that has a `Timer`: the host ends the call
        otherwise.
        """

    @abstractmethod
    def cancel_timer(self, id: bytes) -> None:
        """Cancelling an absent timer is not an error. Only in writing transactions."""

    @abstractmethod
    def publish(self, topic: bytes, message: bytes) -> None:
        """Send `message` to every subscriber of `topic` once this transaction has committed, at most once."""
