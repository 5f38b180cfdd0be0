"""The package on the SDK's fakes: what the suite asks of it on a cluster, in small."""

import unittest

import recoil
from recoil.fake import FakeCluster, FakeConnection

from app import Frames, Owner, Web
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


if __name__ == "__main__":
    unittest.main()
