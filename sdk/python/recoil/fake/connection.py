"""A client that has already said everything it will say."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from recoil._check import octets, whole
from recoil.connection import Connection
from recoil.fake.cluster import FakeSubscription
from recoil.router import Subscription


class FakeConnection(Connection):
    """A connection whose input is given beforehand, chunk by chunk, and whose output is kept.

    One `read` returns one chunk, if its limit allows. After the last chunk comes the end of the stream.
    """

    def __init__(self, chunks: Iterable[bytes] = (), *, peer_address: str = "127.0.0.1:50312") -> None:
        """A client that sends `chunks`."""
        self._input = deque(octets("a chunk", chunk) for chunk in chunks if chunk)
        self._peer_address = peer_address
        self.output = b""
        """Everything written so far."""
        self.writes = 0
        """How often `write` was called."""

    @property
    def peer_address(self) -> str:
        return self._peer_address

    def read(self, limit: int = 65_536) -> bytes:
        limit = whole("a limit", limit)
        if not self._input:
            return b""
        chunk = self._input.popleft()
        if len(chunk) > limit:
            self._input.appendleft(chunk[limit:])
        return chunk[:limit]

    def write(self, data: bytes) -> None:
        self.output += octets("data", data)
        self.writes += 1

    def wait_any(self, subscriptions: Sequence[Subscription] = (), *, timeout_ms: int) -> Connection | Subscription | None:
        whole("a timeout", timeout_ms)
        for subscription in subscriptions:
            if isinstance(subscription, FakeSubscription) and subscription.has_message:
                return subscription
        return self
