"""The package on the SDK's fakes: what the suite asks of it on a cluster, in small."""

import unittest

import recoil
from recoil.fake import FakeCluster, FakeConnection
from recoil.scheduler import Load, Node, NodeState, Partition, Placement, Rule, View

from app import Frames, Office, Owner, Planner, Web
from protocol import answered, frame, pack


class ConformanceTest(unittest.TestCase):
    def setUp(self) -> None:
        self.cluster = FakeCluster(Owner())

    def ask(self, *items: bytes) -> bytes:
        """The answer over HTTP, which is the one over TCP."""
        request = pack(items)
        answer = Web().respond(recoil.HttpRequest("POST", "/call", body=request), self.cluster).body
        whole = frame(request)
        connection = FakeConnection([whole[:3], whole[3:]])
        Frames().serve(connection, self.cluster)
        self.assertEqual(connection.output, frame(answer))
        return answer

    def test_commands_run_in_the_listener_and_in_the_handler(self) -> None:
        self.assertEqual(self.ask(b"put", b"k", b"v"), answered([]))
        self.assertEqual(self.ask(b"get-many", b"k", b"absent"), answered([b"+v", b""]))
        self.assertEqual(self.ask(b"call", b"read", b"k", pack([b"get", b"k"])), answered([b"v"]))
        self.assertEqual(
            self.ask(b"call-partition", b"read", b"3", pack([b"current"])), answered([b"default", b"3", b"8", b"1"])
        )

    def test_errors_have_their_kind(self) -> None:
        for told, *asked in (
            (recoil.Rejected("read-only: "), b"call", b"read", b"k", pack([b"put", b"k", b"v"])),
            (recoil.Rejected("no: \xfc"), b"call", b"write", b"k", pack([b"put-and-fail", b"k", b"v", "no: \xfc".encode()])),
            (recoil.Rejected("RuntimeError: oh"), b"call", b"write", b"k", pack([b"put-and-throw", b"k", b"v", b"oh"])),
        ):
            self.assertEqual(self.ask(*asked), answered(told))
        for asked in ([b"nonsense"], [b"get"], [b"scan", b"", b"end", b"1", b"true"], [b"put-many", b"k"], []):
            self.assertTrue(self.ask(*asked).startswith(b"\1\0\0\0\7invalid"))

    def test_a_timer_leaves_its_payload(self) -> None:
        self.ask(b"call", b"write", b"k", pack([b"set-timer", b"t", b"1000", b"payload"]))
        self.assertEqual(self.cluster.advance(1000), 1)
        self.assertEqual(self.cluster.partition(self.cluster.owner(b"k")).rows[b"fired:t"], b"payload")

    def test_a_command_gets_what_another_has_put(self) -> None:
        office = Office()
        self.assertEqual(office.run(["key", "put", "größe", "7"], self.cluster), "")
        self.assertEqual(office.run(["key", "get", "größe"], self.cluster), "7")
        self.assertEqual(office.run(["echo", "größe", "", "a b"], self.cluster), "[größe][][a b]")
        for said, *typed in (
            ("no such key", "key", "get", "absent"),
            ("no", "fail", "no"),
            ("no such command",),
            ("no such command", "key", "put", "k"),
        ):
            with self.subTest(typed), self.assertRaisesRegex(recoil.Error, f"^{said}$"):
                office.run(typed, self.cluster)

    def test_a_plan_tells_what_the_view_says(self) -> None:
        region, zone = ("region", "eu"), ("zone", "a")
        view = View(
            [Node(7, NodeState.DRAINING, [region, zone], (1 << 64) - 1, 5, 0.25), Node(9, capacity_bytes=10)],
            [Rule(1, 2, [region], ["zone"])],
            [Partition(1, 0, [7, 9], Load(1.5, 0.0, 0.125, 3)), Partition(1, 1, [9, 8]), Partition(2, 2, [])],
        )
        first = "node 7 draining region=eu,zone=a 5/18446744073709551615 250; rule 2 region=eu zone -; load 1500 0 125 3"
        second = "node 9 live - 0/10 0; rule none; load 0 0 0 0"
        self.assertEqual(Planner().plan(view), [Placement(1, 0, [9, 7], first), Placement(2, 2, [9], second)])
        nowhere = Planner().plan(View([Node(1, NodeState.DOWN)], partitions=[Partition(1, 0, [])]))
        self.assertEqual(nowhere, [Placement(1, 0, [], "node none; rule none; load 0 0 0 0")])

    def test_what_cannot_be_planned_is_an_error(self) -> None:
        nodes = [Node(1)]
        for view, said in (
            (View(), "no nodes"),
            (View(nodes, [Rule(3, 255)]), "there is no order 3"),
            (View(nodes, [Rule(1, 255)]), "thrown while planning"),
        ):
            with self.subTest(said), self.assertRaisesRegex(Exception, said):
                Planner().plan(view)


if __name__ == "__main__":
    unittest.main()
