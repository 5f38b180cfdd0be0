"""A scheduler is tested as an author would: with views made by hand."""

import unittest

import recoil
from recoil.scheduler import Node, NodeState, Partition, Placement, Rule, View


class Roomiest(recoil.Scheduler):
    """Places partitions without replicas, on the nodes with the most room that may have them."""

    def plan(self, view: View) -> list[Placement]:
        rules = {rule.keyspace: rule for rule in view.rules}
        live = [node for node in view.nodes if node.state is NodeState.LIVE]
        live.sort(key=lambda node: node.used_bytes - node.capacity_bytes)
        plan = []
        for keyspace, id, replicas, _ in view.partitions:
            if replicas:
                continue
            if not (rule := rules.get(keyspace)):
                raise recoil.Error(f"no rule for keyspace {keyspace}")
            fit = [node.id for node in live if set(rule.required) <= set(node.locality)]
            plan.append(Placement(keyspace, id, fit[: rule.replication], "the most room"))
        return plan


class SchedulerTest(unittest.TestCase):
    def plan(self, *partitions: Partition) -> list[Placement]:
        """The plan for a cluster of two zones."""
        a, b = ("zone", "a"), ("zone", "b")
        nodes = [
            Node(1, locality=[a], capacity_bytes=(1 << 64) - 1, used_bytes=20),
            Node(2, NodeState.DOWN, [a], (1 << 64) - 1),
            Node(3, locality=[b], capacity_bytes=(1 << 64) - 1),
            Node(4, locality=[a], capacity_bytes=(1 << 64) - 1, used_bytes=10),
        ]
        return Roomiest().plan(View(nodes, [Rule(7, 2, required=[a])], partitions))

    def test_a_plan_is_a_function_of_its_view(self) -> None:
        self.assertEqual(self.plan(Partition(7, 5, []), Partition(7, 6, [1, 2])), [Placement(7, 5, [4, 1], "the most room")])
        with self.assertRaisesRegex(recoil.Error, "no rule for keyspace 8"):
            self.plan(Partition(8, 5, []))


if __name__ == "__main__":
    unittest.main()
