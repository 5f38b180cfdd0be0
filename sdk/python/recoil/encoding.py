r"""Keys whose byte order is the order of their parts, so that a scan returns them sorted.

Numbers are big-endian, and a byte string of any content is escaped so that a shorter one sorts before a longer one and no
part can be mistaken for the next. Keys begin with a byte of the author's choice that keeps a package's kinds of rows apart.

    >>> key(1, b"a", 2) < key(1, b"a", 10) < key(1, b"a\0", 1) < key(1, b"b", 0)
    True
    >>> parts(key(1, b"a", -2), bytes, int)
    (1, [b'a', -2])

For values, bring what fits: `struct`, `json`, or a package.
"""

import struct
from typing import Any

from recoil.errors import Error

_SIGN = 1 << 63
_ALL = (1 << 64) - 1


class DecodeError(Error, ValueError):
    """Bytes that are not what they should be."""

    kind = "invalid"


def key(kind: int, *of: bytes | str | int | float) -> bytes:
    """A key of the kind `kind` (0 to 255) made of parts: byte strings, texts, whole numbers of 64 bits, floats.

    Numbers sort by value, negative ones first. The key of some parts is a prefix of the keys of these and more parts.
    """
    encoded = bytearray([kind])
    for part in of:
        match part:
            case bytes():
                encoded += part.replace(b"\0", b"\0\xff") + b"\0\0"
            case str():
                encoded += part.encode().replace(b"\0", b"\0\xff") + b"\0\0"
            case int():
                encoded += struct.pack(">Q", (part + _SIGN) & _ALL) if -_SIGN <= part < _SIGN else _too_big(part)
            case float():
                (bits,) = struct.unpack(">Q", struct.pack(">d", part))
                encoded += struct.pack(">Q", bits ^ (_ALL if bits & _SIGN else _SIGN))
            case _:
                raise TypeError(f"a part of a key is bytes, str, int or float, not {type(part).__name__}")
    return bytes(encoded)


def _too_big(part: int) -> bytes:
    raise OverflowError(f"{part} does not fit into the 64 bits of a key's number")


def parts(key: bytes, *types: type[bytes] | type[str] | type[int] | type[float]) -> tuple[int, list[Any]]:
    """The kind of a key and its parts, which are of these types; raises `DecodeError` if they cannot be."""
    if not key:
        raise DecodeError("an empty key has no kind")
    values: list[Any] = []
    at = 1
    for wanted in types:
        if wanted in (bytes, str):
            part, at = _string(key, at)
            values.append(part if wanted is bytes else _text(part))
            continue
        if at + 8 > len(key):
            raise DecodeError(f"the key ends within the number at byte {at}")
        (bits,) = struct.unpack_from(">Q", key, at)
        at += 8
        if wanted is int:
            values.append(bits - _SIGN)
        else:
            values.append(struct.unpack(">d", struct.pack(">Q", bits ^ (_SIGN if bits & _SIGN else _ALL)))[0])
    if at != len(key):
        raise DecodeError(f"bytes are left over behind byte {at} of the key")
    return key[0], values


def _text(part: bytes) -> str:
    try:
        return part.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"a text of the key is not UTF-8: {error}") from None


def _string(key: bytes, at: int) -> tuple[bytes, int]:
    """The byte string at `at`, and where it ends."""
    part = bytearray()
    while True:
        zero = key.find(b"\0", at)
        if zero < 0 or zero + 1 == len(key):
            raise DecodeError(f"the key ends within the byte string at byte {at}")
        part += key[at:zero]
        at = zero + 2
        match key[zero + 1]:
            case 0:
                return bytes(part), at
            case 0xFF:
                part.append(0)
            case _:
                raise DecodeError(f"the zero at byte {zero} of the key is neither escaped nor an end")
