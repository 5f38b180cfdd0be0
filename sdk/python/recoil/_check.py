"""Checks of what authors pass to the host.

A value of a wrong type would end the instance at the boundary, without saying where; here it is an exception in the
author's own line. The fakes check the same, so that a test finds it.
"""

U32_MAX = (1 << 32) - 1
U64_MAX = (1 << 64) - 1


def octets(what: str, value: bytes | bytearray | memoryview) -> bytes:
    """Bytes, whatever they were held in. Text is refused, for its author must say how it is encoded."""
    if type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    hint = ": encode it first, as in text.encode()" if isinstance(value, str) else ""
    raise TypeError(f"{what} must be bytes, not {type(value).__name__}{hint}")


def whole(what: str, value: int, maximum: int = U32_MAX) -> int:
    """A whole number from 0 to `maximum`."""
    if not isinstance(value, int):
        raise TypeError(f"{what} must be a whole number, not {type(value).__name__}")
    if not 0 <= value <= maximum:
        raise ValueError(f"{what} must be from 0 to {maximum}, not {value}")
    return value


def text(value: str) -> str:
    """Text that UTF-8 can carry: what it cannot, such as half a surrogate pair, becomes a question mark."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
