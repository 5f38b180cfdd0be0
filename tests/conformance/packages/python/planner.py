"""The scheduler: puts live replicas first, and tells all that the view says in its reasons."""

from collections.abc import Sequence
from typing import NoReturn

import recoil
from recoil.scheduler import Label, NodeState, Partition, Placement, View

# A rule with this replication is an order to go wrong: its keyspace says how.
REPLICATION_ORDER = 255
REPLICATION_DEFAULT = 3


class Planner(recoil.Scheduler):
    """Plans as the protocol says."""

    def plan(self, view: View) -> list[Placement]:
        """Place partitions that are nowhere, or whose replicas are not in order."""
        if not view.nodes:
            raise recoil.Error("no nodes")
        for rule in view.rules:
            if rule.replication == REPLICATION_ORDER:
                _go_wrong(rule.keyspace)
        within = _Within(view)
        return [
            Placement(partition.keyspace, partition.id, wanted, within.reason(partition, wanted))
            for partition in view.partitions
            if (wanted := within.wanted(partition)) != partition.replicas or not partition.replicas
        ]


def _go_wrong(how: int) -> NoReturn:
    match how:
        case 1:
            raise RuntimeError("thrown while planning")
        case 2:
            while True:
                pass
    raise recoil.Error(f"there is no order {how}")


class _Within:
    """A view in which nodes and rules are found: the first of an id or keyspace."""

    def __init__(self, view: View) -> None:
        self._nodes = {node.id: node for node in reversed(view.nodes)}
        self._rules = {rule.keyspace: rule for rule in reversed(view.rules)}
        self._live = [node.id for node in view.nodes if node.state is NodeState.LIVE]

    def _is_live(self, id: int) -> bool:
        return id in self._nodes and self._nodes[id].state is NodeState.LIVE

    def wanted(self, partition: Partition) -> list[int]:
        """Where the partition should be."""
        if partition.replicas:
            return sorted(partition.replicas, key=lambda id: not self._is_live(id))
        rule = self._rules.get(partition.keyspace)
        count = min(rule.replication if rule else REPLICATION_DEFAULT, len(self._live))
        return [self._live[(partition.id + at) % len(self._live)] for at in range(count)]

    def reason(self, partition: Partition, wanted: list[int]) -> str:
        """What the view says of the partition, its first node and its keyspace."""
        load = partition.load
        rates = (load.reads_per_second, load.writes_per_second, load.cpu_seconds_per_second)
        costs = " ".join(str(_thousandths(rate)) for rate in rates)
        node = self._node(partition.replicas or wanted)
        return f"{node}; {self._rule(partition.keyspace)}; load {costs} {load.bytes}"

    def _node(self, replicas: list[int]) -> str:
        if not replicas:
            return "node none"
        if not (node := self._nodes.get(replicas[0])):
            return f"node {replicas[0]} unknown"
        used = f"{node.used_bytes}/{node.capacity_bytes}"
        return f"node {node.id} {node.state.value} {_labels(node.locality)} {used} {_thousandths(node.cpu_load)}"

    def _rule(self, keyspace: int) -> str:
        if not (rule := self._rules.get(keyspace)):
            return "rule none"
        required, preference = _labels(rule.required), _labels(rule.leader_preference)
        return f"rule {rule.replication} {required} {_joined(rule.spread_by)} {preference}"


def _labels(labels: Sequence[Label]) -> str:
    return _joined([f"{key}={value}" for key, value in labels])


def _joined(texts: Sequence[str]) -> str:
    return ",".join(texts) if texts else "-"


def _thousandths(value: float) -> int:
    return int(value * 1000)
