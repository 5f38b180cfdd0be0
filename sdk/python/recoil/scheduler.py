"""What a `Scheduler` is shown, and what its plan is made of.

These are plain values: a test makes a `View` and compares the plan.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

Label = tuple[str, str]
"""A key and its value, as `("zone", "a")`: where a node is, or where a replica must be."""


class NodeState(Enum):
    """What a node is to the cluster."""

    LIVE = "live"
    DRAINING = "draining"
    """It serves, and is about to leave."""

    DOWN = "down"
    """It does not answer."""


class Node(NamedTuple):
    """A node of the cluster."""

    id: int
    """What `replicas` name it by."""

    state: NodeState = NodeState.LIVE
    locality: Sequence[Label] = ()
    """Where it is, from the widest to the narrowest."""

    capacity_bytes: int = 0
    """What its disk holds."""

    used_bytes: int = 0
    """What of that is taken."""

    cpu_load: float = 0.0
    """What of its processors is busy."""


class Load(NamedTuple):
    """What a partition costs."""

    reads_per_second: float = 0.0
    writes_per_second: float = 0.0
    cpu_seconds_per_second: float = 0.0
    bytes: int = 0
    """What it holds."""


class Partition(NamedTuple):
    """A partition, and where it is now."""

    keyspace: int
    id: int
    replicas: Sequence[int] = ()
    """Nodes, the preferred leader first; none if it is nowhere yet."""

    load: Load = Load()


class Rule(NamedTuple):
    """What holds for a keyspace."""

    keyspace: int
    replication: int
    """How many replicas each partition has."""

    required: Sequence[Label] = ()
    """What every replica's node must have."""

    spread_by: Sequence[str] = ()
    """Keys of labels in whose values replicas should differ."""

    leader_preference: Sequence[Label] = ()
    """What the leader's node should have, if one can."""


class View(NamedTuple):
    """All that a plan is made of."""

    nodes: Sequence[Node] = ()
    rules: Sequence[Rule] = ()
    partitions: Sequence[Partition] = ()


class Placement(NamedTuple):
    """Where a partition should be."""

    keyspace: int
    id: int
    replicas: Sequence[int]
    """Nodes, the preferred leader first."""

    reason: str
    """Why, for operators."""
