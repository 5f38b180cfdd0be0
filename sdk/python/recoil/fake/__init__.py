"""The host, in memory: what a package's logic runs on in native unit tests.

`FakePartition` is one partition: storage, time, timers, published messages, rollback, read-only calls and the contract's
limits. `FakeCluster` is a router to several of them, divided into groups, so that what a transaction over several groups
meets can be tested. `FakeConnection` is a client that has already said everything it will say. `settings` gives settings
other values than the manifest's.

Invariant: where the contract leaves a choice to the host, the fakes take the one that is harder for the package (short pages,
refused transactions); where it promises something, they keep it. Deliberately absent: components, memory limits and
deadlines, for which there is a cluster on one's own machine, `recoil_simulator`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from recoil import _native
from recoil.fake.cluster import FakeCluster
from recoil.fake.connection import FakeConnection
from recoil.fake.partition import FakePartition, FakeTransaction

__all__ = ["FakeCluster", "FakeConnection", "FakePartition", "FakeTransaction", "settings"]


@contextmanager
def settings(**values: str | int | bool) -> Iterator[None]:
    """Give settings these values, within `with settings(greeting="hi"):`."""
    before = dict(_native.overrides)
    _native.overrides.update({name: _native.setting_text(value) for name, value in values.items()})
    try:
        yield
    finally:
        _native.overrides.clear()
        _native.overrides.update(before)
