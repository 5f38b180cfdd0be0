"""Lists, answers and arguments of the conformance protocol, and the tables that its commands are found in."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Iterable
from typing import Any

import recoil

FRAME_BYTES_MAX = 16 << 20

_LENGTH = struct.Struct(">I")


class Invalid(recoil.Error):
    """A command that is unknown, has too few arguments or one of the wrong form."""

    kind = "invalid"


def pack(items: Iterable[bytes]) -> bytes:
    """A list of items, each behind its length."""
    return b"".join(_LENGTH.pack(len(item)) + item for item in items)


def unpack(data: bytes) -> list[bytes]:
    """The items of a list."""
    items = []
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            raise Invalid("the list ends within a length")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise Invalid("the list ends within an item")
        items.append(data[start:at])
    return items


def frame(data: bytes) -> bytes:
    """Data behind its length."""
    return _LENGTH.pack(len(data)) + data


def take_frame(buffer: bytearray) -> bytes | None:
    """Takes a frame off the front of a buffer; None if it is not complete yet, `OverflowError` if it is too long."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if end > _LENGTH.size + FRAME_BYTES_MAX:
        raise OverflowError(f"a frame of {end - _LENGTH.size} bytes: the limit is {FRAME_BYTES_MAX}")
    if len(buffer) < end:
        return None
    taken = bytes(memoryview(buffer)[_LENGTH.size : end])
    del buffer[:end]
    return taken


def answered(result: list[bytes] | recoil.Error) -> bytes:
    """An answer: its status, then the items, or the kind of the error and its text."""
    if isinstance(result, recoil.Error):
        return b"\1" + pack([result.kind.encode(), result.reason.encode()])
    return b"\0" + pack(result)


def option(value: bytes | None) -> bytes:
    """An option as one item."""
    return b"" if value is None else b"+" + value


def optional(item: bytes) -> bytes | None:
    """The value of an option."""
    if item and item[:1] != b"+":
        raise Invalid(f"an option is empty or begins with +, not {item!r}")
    return item[1:] if item else None


def number(item: bytes) -> int:
    """A decimal number of at most 32 bits."""
    if not item.isdigit() or len(item) > 10 or int(item) >= 1 << 32:
        raise Invalid(f"{item!r} is no number of 32 bits")
    return int(item)


def truth(item: bytes) -> bool:
    """`true` or `false`."""
    if item not in (b"true", b"false"):
        raise Invalid(f"{item!r} is neither true nor false")
    return item == b"true"


def text(item: bytes) -> str:
    """UTF-8."""
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise Invalid(str(error)) from None


def mode(item: bytes) -> recoil.Mode:
    """One of the modes of a call."""
    try:
        return recoil.Mode(text(item))
    except ValueError as error:
        raise Invalid(str(error)) from None


def pairs(items: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    """Items two by two."""
    if len(items) % 2:
        raise Invalid("the arguments come in pairs")
    return list(zip(items[::2], items[1::2], strict=True))


Command = Callable[..., list[bytes] | None]


class Commands:
    """Commands by their names; the first argument of each is what it works on."""

    def __init__(self) -> None:
        """An empty table."""
        self._found: dict[bytes, tuple[Command, inspect.Signature]] = {}

    def add(self, command: Command) -> Command:
        """Adds a function under its name, for `@table.add`."""
        name = command.__name__.rstrip("_").replace("_", "-")
        self._found[name.encode()] = command, inspect.signature(command)
        return command

    def __contains__(self, name: bytes) -> bool:
        """True if there is such a command."""
        return name in self._found

    def run(self, name: bytes, on: Any, arguments: list[bytes]) -> list[bytes]:
        """Runs a command; one without an answer answers an empty list."""
        if name not in self._found:
            raise Invalid(f"there is no command {name!r} here")
        command, signature = self._found[name]
        try:
            signature.bind(on, *arguments)
        except TypeError as error:
            raise Invalid(f"{name!r}: {error}") from None
        return command(on, *arguments) or []
