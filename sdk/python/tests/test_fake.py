"""The fakes keep the contract's promises, and are as hard on a package as a host may be."""

import unittest

import recoil
from recoil import KeyRange, Mode, RoutedCall
from recoil.fake import FakeCluster, FakeConnection, FakePartition, settings
from recoil.fake.partition import VALUE_BYTES_MAX


class Package(recoil.Handler, recoil.Timer):
    """Writes, publishes and sets a timer, and then fails if it is told to."""

    def handle(self, transaction: recoil.Transaction, request: bytes) -> bytes:
        if not transaction.is_read_only:
            transaction.put(b"row", request)
            transaction.publish(b"topic", request)
            transaction.set_timer(b"timer", transaction.now_us + 10, request)
        if request == b"bad":
            raise recoil.Error("refused")
        if request == b"bug":
            raise ZeroDivisionError("by nothing")
        return transaction.get(b"row") or b""

    def fire(self, transaction: recoil.Transaction, id: bytes, payload: bytes) -> None:
        transaction.put(id, payload)
        if payload == b"fails":
            raise recoil.Error("not yet")


class PartitionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.partition = FakePartition(Package())

    def test_an_exception_rolls_back_rows_timers_and_messages(self) -> None:
        self.partition.write(b"good")
        now_us = self.partition.now_us
        with self.assertRaisesRegex(recoil.Error, "refused"):
            self.partition.write(b"bad")
        with self.assertRaises(ZeroDivisionError):
            self.partition.write(b"bug")
        self.assertGreater(self.partition.now_us, now_us)
        self.assertEqual(self.partition.rows, {b"row": b"good"})
        self.assertEqual(self.partition.published, [(b"topic", b"good")])
        self.assertEqual(self.partition.timers, {b"timer": (now_us + 10, b"good")})

    def test_a_timer_fires_when_due_and_again_when_it_failed(self) -> None:
        self.partition.write(b"good")
        self.assertEqual(self.partition.advance(9), 0)
        self.assertEqual(self.partition.advance(1), 1)
        self.assertEqual(self.partition.rows[b"timer"], b"good")
        self.assertFalse(self.partition.timers)
        self.partition.write(b"fails")
        self.assertEqual(self.partition.advance(100), 1)
        self.assertEqual(self.partition.rows[b"timer"], b"good", "a failed timer writes nothing")
        self.assertEqual(len(self.partition.timers), 1)

    def test_a_read_refuses_writes_and_limits_hold(self) -> None:
        with self.partition.transaction(read_only=True) as transaction:
            with self.assertRaises(recoil.ReadOnly):
                transaction.put(b"k", b"v")
            with self.assertRaises(RuntimeError):
                transaction.set_timer(b"t", 0)
        with self.assertRaises(ZeroDivisionError), self.partition.transaction() as transaction:
            with self.assertRaises(recoil.TooLarge):
                transaction.put(b"k", bytes(VALUE_BYTES_MAX + 1))
            with self.assertRaises(recoil.TooLarge):
                transaction.put(bytes(70_000), b"")
            transaction.put(b"k", bytes(VALUE_BYTES_MAX))
            with self.assertRaises(recoil.TooLarge):
                transaction.put(b"l", bytes(VALUE_BYTES_MAX))
            raise ZeroDivisionError
        self.assertFalse(self.partition.rows)

    def test_text_is_no_key_and_a_number_has_bounds(self) -> None:
        with self.partition.transaction() as transaction:
            with self.assertRaisesRegex(TypeError, "a key must be bytes, not str: encode it"):
                transaction.put("key", b"value")  # type: ignore[arg-type]
            with self.assertRaisesRegex(ValueError, "a time must be from 0"):
                transaction.set_timer(b"t", -1)
            transaction.put(b"key", bytearray(b"value"))  # type: ignore[arg-type]
        self.assertEqual(self.partition.rows, {b"key": b"value"})

    def test_scan_pages_through_everything_once_in_both_directions(self) -> None:
        self.partition.page_entries = 7  # pages shorter than asked for are not the end
        for number in range(3000):
            self.partition.insert(number.to_bytes(4, "big"), b"")
        within = KeyRange((10).to_bytes(4, "big"), (2000).to_bytes(4, "big"))
        with self.partition.transaction(read_only=True) as transaction:
            forward = [int.from_bytes(key, "big") for key, _ in transaction.scan(within)]
            backward = [int.from_bytes(key, "big") for key, _ in transaction.scan(within, reverse=True)]
            self.assertEqual(list(transaction.scan(KeyRange(b"b", b"a"))), [])
        self.assertEqual(forward, list(range(10, 2000)))
        self.assertEqual(backward, forward[::-1])


class ClusterTest(unittest.TestCase):
    def setUp(self) -> None:
        self.cluster = FakeCluster(Package(), partitions=6, groups=3)

    def test_a_transaction_is_all_or_nothing_and_within_one_group(self) -> None:
        subscription = self.cluster.subscribe(b"topic")
        self.assertEqual(self.cluster.transact([RoutedCall(1, b"a"), RoutedCall(4, b"b")]), [b"a", b"b"])
        with self.assertRaisesRegex(recoil.Rejected, "refused"):
            self.cluster.transact([RoutedCall(1, b"c"), RoutedCall(4, b"bad")])
        with self.assertRaisesRegex(recoil.Rejected, r"\[1, 2\]"):
            self.cluster.transact([RoutedCall(1, b"c"), RoutedCall(2, b"c")])
        self.assertEqual([self.cluster.partition(id).rows[b"row"] for id in (1, 4)], [b"a", b"b"])
        self.assertEqual({subscription.next(0), subscription.next(0)}, {b"a", b"b"})
        self.assertIsNone(subscription.next(0), "a transaction that was rolled back publishes nothing")

    def test_calls_go_to_their_partition_and_fail_by_themselves(self) -> None:
        key = b"some key"
        self.cluster.call(RoutedCall(key, b"v"))
        owner = self.cluster.locate(key).id
        other = (owner + 1) % 6
        self.cluster.fail_partition(other, recoil.Unavailable("gone"))
        answers = self.cluster.scatter(b"", Mode.READ)
        self.assertIsInstance(answers[other], recoil.Unavailable)
        self.assertEqual(answers[owner], b"v")
        with self.assertRaisesRegex(recoil.Rejected, "no partition 6"):
            self.cluster.call(RoutedCall(6, b""))

    def test_a_mistake_reaches_the_caller_as_the_host_tells_it(self) -> None:
        with self.assertRaisesRegex(recoil.Rejected, "^ZeroDivisionError: by nothing$"):
            self.cluster.call(RoutedCall(b"k", b"bug"))

    def test_a_pending_call_is_waited_for_once(self) -> None:
        pending = self.cluster.submit(RoutedCall(b"k", b"v"))
        self.assertEqual(pending.wait(), b"v")
        with self.assertRaisesRegex(RuntimeError, "already"):
            pending.wait()

    def test_the_storage_of_all_is_in_order(self) -> None:
        storage = self.cluster.storage
        storage.put_many((b"%03d" % number, b"") for number in range(200))
        self.assertEqual([key for key, _ in storage.scan()], [b"%03d" % number for number in range(200)])
        storage.remove_range(KeyRange.prefix(b"0"))
        self.assertEqual(next(storage.scan()).key, b"100")
        self.assertEqual(next(storage.scan(reverse=True)).key, b"199")


class ConnectionTest(unittest.TestCase):
    def test_wait_any_answers_what_is_ready(self) -> None:
        cluster, connection = FakeCluster(Package()), FakeConnection([b"abc"])
        with cluster.subscribe(b"topic") as subscription:
            self.assertIs(connection.wait_any([subscription], timeout_ms=0), connection)
            cluster.call(RoutedCall(b"k", b"v"))
            self.assertIs(connection.wait_any([subscription], timeout_ms=0), subscription)
            self.assertEqual(subscription.next(0), b"v")
        with self.assertRaisesRegex(RuntimeError, "closed"):
            subscription.next(0)
        self.assertEqual([connection.read(2), connection.read(2), connection.read(2)], [b"ab", b"c", b""])


class SettingsTest(unittest.TestCase):
    def test_a_test_gives_the_values_for_a_while(self) -> None:
        self.assertIsNone(recoil.settings.get("greeting"))
        with settings(greeting="hi", count=-3, loud=True):
            self.assertEqual(recoil.settings.text("greeting"), "hi")
            self.assertEqual(recoil.settings.integer("count"), -3)
            self.assertIs(recoil.settings.boolean("loud"), True)
            with self.assertRaises(ValueError):
                recoil.settings.boolean("greeting")
        with self.assertRaisesRegex(LookupError, "recoil.toml"):
            recoil.settings.text("greeting")


if __name__ == "__main__":
    unittest.main()
