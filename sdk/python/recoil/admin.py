"""The commands that an `Admin` has for operators.

These are plain values: a test calls `Admin.run` with what an operator types and a `FakeCluster`.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """A command, as recoilctl lists it."""

    words: str
    """Those by which it is called, with spaces between them, such as `key create`."""

    usage: str
    """What follows them, such as `NAME [--bucket BUCKET]`."""

    help: str
    """What it does: one sentence for an operator."""
