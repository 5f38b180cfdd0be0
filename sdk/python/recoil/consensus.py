"""The Raft group behind a partition, for handlers that want more than transactions.

These are the contract's functions as they are: a handler that uses them is tested on a cluster.
"""

import sys
from enum import Enum
from typing import NamedTuple

if sys.platform == "wasi":
    from recoil import _host as _here
else:
    from recoil import _native as _here


class Role(Enum):
    """What a replica is in its group."""

    LEADER = "leader"
    FOLLOWER = "follower"
    LEARNER = "learner"


class GroupStatus(NamedTuple):
    """What a replica knows of its group. Nodes are named by their member numbers."""

    group: int
    role: Role
    term: int
    leader: int | None
    committed: int
    applied: int
    voters: tuple[int, ...]


def status() -> GroupStatus:
    """What this replica knows of its group. Handlers and timers only: the host ends a listener that asks."""
    group, role, term, leader, committed, applied, voters = _here.group_status()
    return GroupStatus(group, Role(role), term, leader, committed, applied, tuple(voters))


def barrier() -> int:
    """Confirm with a quorum that this replica leads and has applied everything committed before the call.

    Answers the applied index; raises `LeadershipLost`.
    """
    return _here.barrier()
