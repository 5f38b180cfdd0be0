"""The ordered key-value space that belongs to a package.

`Storage` is the contract's `storage` interface, so that package logic runs on the host's partition and on
`recoil.fake.FakePartition` alike. Invariant: nothing here buffers or reorders; each call is one call of the host. Only
`Storage.scan` adds something, the paging that a long scan needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# The first page is small, for those who look at the first entries only; pages then grow to the largest.
_PAGE_ENTRIES_FIRST = 32
_PAGE_ENTRIES_MAX = 1024


class Entry(NamedTuple):
    """A key and its value."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys from `start`, which is included, to `end`, which is not; without an end, all from `start` on."""

    start: bytes = b""
    end: bytes | None = None

    @staticmethod
    def prefix(prefix: bytes) -> KeyRange:
        """Every key that begins with `prefix`."""
        stem = prefix.rstrip(b"\xff")  # no key of this prefix is beyond a last byte that cannot grow
        return KeyRange(prefix, stem[:-1] + bytes([stem[-1] + 1]) if stem else None)


ALL_KEYS = KeyRange()
"""Every key."""


class Storage(ABC):
    """An ordered, transactional space of byte strings.

    A `Transaction` is the storage of its partition, and its writes become visible together or not at all. `Router.storage`
    is the storage of the whole app: each call is one linearizable operation on the partition that owns the key, a scan
    walks all partitions and may or may not see writes made meanwhile, and a removal is not atomic across partitions.

    Default limits: keys 65,514 bytes, values 8 MiB, the writes of one transaction 16 MiB; beyond them, `TooLarge`.
    Every method raises the `StorageError` that says why not.
    """

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. A transaction sees what it wrote."""

    @abstractmethod
    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """Values in the order of `keys`, in one crossing."""

    @abstractmethod
    def put(self, key: bytes, value: bytes) -> None:
        """Write one value."""

    @abstractmethod
    def put_many(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Write many values in one crossing, such as `mapping.items()`; a later entry of the same key wins."""

    @abstractmethod
    def remove(self, key: bytes) -> None:
        """Remove one value. Removing an absent key is not an error."""

    @abstractmethod
    def remove_range(self, within: KeyRange) -> None:
        """Remove every key of a range."""

    @abstractmethod
    def scan_page(self, within: KeyRange, limit: int, *, reverse: bool = False) -> Sequence[Entry]:
        """At most `limit` entries in key order, descending if `reverse`.

        Fewer may come before the range ends (a page has at most 4 MiB), but at least one if there is one: only an empty
        page is the end. `scan` pages by itself.
        """

    def scan(self, within: KeyRange = ALL_KEYS, *, reverse: bool = False) -> Iterator[Entry]:
        """The entries of a range in key order, descending if `reverse`, read page by page as the iterator is advanced."""
        limit = _PAGE_ENTRIES_FIRST
        while page := self.scan_page(within, limit, reverse=reverse):
            yield from page
            last = page[-1].key
            # The smallest key behind `last` is `last` with a zero byte.
            within = KeyRange(within.start, last) if reverse else KeyRange(last + b"\0", within.end)
            limit = min(limit * 4, _PAGE_ENTRIES_MAX)
