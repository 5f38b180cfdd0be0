"""A client's connection to a `Listener`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from recoil.router import Subscription


class Connection(ABC):
    """A stream of bytes with a client at its other end. It is closed when `Listener.serve` returns.

    When the client is gone, every method that waits raises a `Disconnected`.
    """

    @property
    @abstractmethod
    def peer_address(self) -> str:
        """Address and port of the client, as `127.0.0.1:50312` or `[::1]:50312`."""

    @abstractmethod
    def read(self, limit: int = 65_536) -> bytes:
        """Wait for at least one byte; at most `limit` (and at most 1 MiB) come. Empty is the end of the stream."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Wait until the host has buffered the bytes, not until they are sent.

        What is buffered is sent before the next `read` or `wait_any` waits, and when `serve` returns.
        """

    @abstractmethod
    def wait_any(self, subscriptions: Sequence[Subscription] = (), *, timeout_ms: int) -> Connection | Subscription | None:
        """Wait for input or for a message, whichever is first, and answer what has it; None on timeout.

        That is this connection when there is input or the stream has ended, or the subscription whose `next` has a
        message.
        """
