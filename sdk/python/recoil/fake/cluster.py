"""A router to partitions in memory."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import islice
from zlib import crc32

from recoil._check import octets, whole
from recoil.errors import CallError, Rejected, told
from recoil.fake.partition import FakePartition, FakeTransaction
from recoil.roles import Handler, Timer
from recoil.router import Mode, PartitionInfo, Pending, RoutedCall, Router, Subscription
from recoil.storage import Entry, KeyRange, Storage
from recoil.transaction import PartitionPlace


class FakeCluster(Router):
    """Partitions in memory, in groups.

    Partition `p` belongs to group `p % groups`, and a transaction over several groups is rejected. All partitions share one
    handler: what it keeps in `self` is seen by all, as after a call was evaluated again elsewhere.
    """

    def __init__(self, handler: Handler, timer: Timer | None = None, *, partitions: int = 8, groups: int = 3) -> None:
        """A cluster of at least one partition and one group; `timer` is as for `FakePartition`."""
        if partitions < 1 or groups < 1:
            raise ValueError("a cluster has at least one partition and one group")
        places = [PartitionPlace("default", id, partitions, 1) for id in range(partitions)]
        self._partitions = [FakePartition(handler, timer, place=place) for place in places]
        for partition in self._partitions:
            partition.on_publish = self._deliver
        self._groups = groups
        self._subscriptions: dict[bytes, list[FakeSubscription]] = {}
        self._faults: dict[int, CallError] = {}
        self.calls = 0
        """Calls evaluated so far."""

    def owner(self, key: bytes) -> int:
        """The id of the partition that owns `key`."""
        return crc32(octets("a key", key)) % len(self._partitions)

    def partition(self, id: int) -> FakePartition:
        """A partition, to look at or to change."""
        return self._partitions[id]

    def fail_partition(self, id: int, error: CallError | None) -> None:
        """From now on calls to partition `id` raise `error` and are not evaluated; None heals."""
        if error is None:
            self._faults.pop(id, None)
        else:
            self._faults[id] = error

    def advance(self, microseconds: int) -> int:
        """Let time pass on every partition, and fire what comes due; answers how many timers fired."""
        return sum(partition.advance(microseconds) for partition in self._partitions)

    @property
    def storage(self) -> Storage:
        return FakeStorage(self)

    def call(self, call: RoutedCall) -> bytes:
        partition = self._reach(call)
        self.calls += 1
        try:
            answer = partition.write if call.mode is Mode.WRITE else partition.read
            return answer(call.request)
        except Exception as error:
            raise Rejected(told(error)) from error

    def call_many(self, calls: Iterable[RoutedCall]) -> list[bytes | CallError]:
        return [_answer(self.submit(call)) for call in calls]

    def submit(self, call: RoutedCall) -> Pending:
        try:
            return FakePending(self.call(call))
        except CallError as error:
            return FakePending(error)

    def wait_all(self, calls: Iterable[Pending]) -> list[bytes | CallError]:
        return [_answer(call) for call in calls]

    def transact(self, calls: Iterable[RoutedCall]) -> list[bytes]:
        routed = [(self._reach(call), call.request) for call in calls]
        groups = sorted({partition.place.id % self._groups for partition, _ in routed})
        if len(groups) > 1:
            raise Rejected(f"the transaction spans groups {groups}")
        self.calls += len(routed)
        try:
            with ExitStack() as open_ones:
                transactions: dict[int, FakeTransaction] = {}
                for partition, _ in routed:
                    if partition.place.id not in transactions:
                        transactions[partition.place.id] = open_ones.enter_context(partition.transaction())
                return [partition.answer(transactions[partition.place.id], request) for partition, request in routed]
        except Exception as error:
            raise Rejected(told(error)) from error

    def scatter(self, request: bytes, mode: Mode = Mode.WRITE) -> list[bytes | CallError]:
        return self.call_many(RoutedCall(id, request, mode) for id in range(len(self._partitions)))

    def locate(self, key: bytes) -> PartitionInfo:
        return self._info(self.owner(key))

    def partitions(self) -> list[PartitionInfo]:
        return [self._info(id) for id in range(len(self._partitions))]

    def subscribe(self, topic: bytes) -> Subscription:
        subscription = FakeSubscription()
        self._subscriptions.setdefault(octets("a topic", topic), []).append(subscription)
        return subscription

    def _reach(self, call: RoutedCall) -> FakePartition:
        octets("a request", call.request)
        id = whole("a partition's id", call.to) if isinstance(call.to, int) else self.owner(call.to)
        if id >= len(self._partitions):
            raise Rejected(f"there is no partition {id}: there are {len(self._partitions)}")
        if id in self._faults:
            raise self._faults[id]
        return self._partitions[id]

    def _info(self, id: int) -> PartitionInfo:
        member = id % self._groups + 1
        return PartitionInfo(id, member, (member,), 1)

    def _deliver(self, topic: bytes, message: bytes) -> None:
        for subscription in self._subscriptions.get(topic, ()):
            subscription.deliver(message)


class FakePending(Pending):
    """A call that was answered when it was made."""

    def __init__(self, answer: bytes | CallError) -> None:
        """A call with this answer."""
        self._answer: bytes | CallError | None = answer

    def is_ready(self) -> bool:
        return True

    def wait(self) -> bytes:
        answer, self._answer = self._answer, None
        if answer is None:
            raise RuntimeError("this call was waited for already")
        if isinstance(answer, CallError):
            raise answer
        return answer


def _answer(pending: Pending) -> bytes | CallError:
    try:
        return pending.wait()
    except CallError as error:
        return error


class FakeSubscription(Subscription):
    """Messages that wait for a subscriber; `next` does not wait for more."""

    def __init__(self) -> None:
        """A subscription without messages."""
        self._messages: deque[bytes] = deque()
        self._closed = False

    def deliver(self, message: bytes) -> None:
        """Here is a message."""
        if not self._closed:
            self._messages.append(message)

    @property
    def has_message(self) -> bool:
        """True when `next` has a message."""
        return bool(self._messages)

    def next(self, timeout_ms: int) -> bytes | None:
        whole("a timeout", timeout_ms)
        if self._closed:
            raise RuntimeError("this subscription is closed")
        return self._messages.popleft() if self._messages else None

    def close(self) -> None:
        self._closed = True
        self._messages.clear()


class FakeStorage(Storage):
    """The storage of a whole `FakeCluster`: each operation a transaction of the partition that owns the key."""

    def __init__(self, cluster: FakeCluster) -> None:
        """The storage of `cluster`."""
        self._cluster = cluster

    def _owner(self, key: bytes) -> FakePartition:
        return self._cluster.partition(self._cluster.owner(key))

    def _all(self) -> list[FakePartition]:
        return [self._cluster.partition(info.id) for info in self._cluster.partitions()]

    def get(self, key: bytes) -> bytes | None:
        return self._owner(key).rows.get(key)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        with self._owner(key).transaction() as transaction:
            transaction.put(key, value)

    def put_many(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in entries:
            self.put(key, value)

    def remove(self, key: bytes) -> None:
        with self._owner(key).transaction() as transaction:
            transaction.remove(key)

    def remove_range(self, within: KeyRange) -> None:
        for partition in self._all():
            with partition.transaction() as transaction:
                transaction.remove_range(within)

    def scan_page(self, within: KeyRange, limit: int, *, reverse: bool = False) -> Sequence[Entry]:
        each = [partition.transaction(read_only=True).scan(within, reverse=reverse) for partition in self._all()]
        return list(islice(heapq.merge(*each, reverse=reverse), whole("a limit", limit)))
