"""What needs no host: ranges, keys, requests and answers, errors."""

import unittest
from itertools import pairwise, product

import recoil
from recoil import HttpRequest, HttpResponse, KeyRange
from recoil.encoding import DecodeError, key, parts


class KeyTest(unittest.TestCase):
    def test_a_prefix_ends_before_the_next_key_that_lacks_it(self) -> None:
        self.assertEqual(KeyRange.prefix(b"ab"), KeyRange(b"ab", b"ac"))
        self.assertEqual(KeyRange.prefix(b"a\xff\xff"), KeyRange(b"a\xff\xff", b"b"))
        self.assertEqual(KeyRange.prefix(b"\xff\xff"), KeyRange(b"\xff\xff", None))
        self.assertEqual(KeyRange.prefix(b""), recoil.ALL_KEYS)

    def test_keys_sort_as_their_parts(self) -> None:
        strings = [b"", b"\0", b"\0\0", b"\0\xff", b"\x01", b"a", b"a\0", b"ab"]
        for (left_at, left), (right_at, right) in product(enumerate(strings), repeat=2):
            if left_at != right_at:
                self.assertEqual(key(1, left, 9) < key(1, right, 1), left_at < right_at)
        for lesser, greater in pairwise([-(1 << 63), -5, -1, 0, 1, (1 << 63) - 1]):
            self.assertLess(key(0, lesser), key(0, greater))
        for less, more in pairwise([float("-inf"), -2.5, -0.0, 0.0, 1e-300, 3.0, float("inf")]):
            self.assertLess(key(0, less), key(0, more))

    def test_keys_come_apart_again_and_every_shorter_one_is_an_error(self) -> None:
        whole = key(7, b"a\0b", "ü", -5, -6.5)
        self.assertEqual(parts(whole, bytes, str, int, float), (7, [b"a\0b", "ü", -5, -6.5]))
        for length in range(len(whole)):
            with self.assertRaises(DecodeError):
                parts(whole[:length], bytes, str, int, float)
        for damaged in (whole + b"\0", b"\1\0\2", b"\1\xff\0\0"):
            with self.assertRaises(DecodeError):
                parts(damaged, str)
        with self.assertRaises(OverflowError):
            key(0, 1 << 63)


class HttpTest(unittest.TestCase):
    def test_paths_and_queries_are_taken_apart_and_decoded(self) -> None:
        request = HttpRequest("GET", "/a%2Fb//c%20d/%zz%4/%ff", "name=J%C3%B6rg+X&empty&name=other")
        self.assertEqual(request.segments(), ["a/b", "c d", "%zz%4", "\udcff"])
        self.assertEqual(request.query_value("name"), "Jörg X")
        self.assertEqual(request.query_value("empty"), "")
        self.assertIsNone(request.query_value("absent"))
        self.assertEqual(HttpRequest("GET", "/").segments(), [])

    def test_headers_are_found_in_any_case(self) -> None:
        request = HttpRequest("PUT", "/", headers=[("x-trace", b"7"), ("bytes", b"\xff")])
        self.assertEqual(request.header("X-TRACE"), "7")
        self.assertEqual(request.header("bytes"), "\udcff")
        self.assertIsNone(request.header("absent"))

    def test_answers_say_what_they_are(self) -> None:
        self.assertEqual(HttpResponse.json({"a": [1]}).body, b'{"a": [1]}')
        self.assertEqual(HttpResponse.text("ü\udcff", 404).body, b"\xc3\xbc\xff")


class ErrorTest(unittest.TestCase):
    def test_an_error_has_a_kind_a_reason_and_a_sentence(self) -> None:
        error = recoil.Failed("out of memory")
        self.assertEqual((error.kind, error.reason), ("failed", "out of memory"))
        self.assertEqual(str(error), "the handler failed: out of memory")
        self.assertEqual(recoil.Conflict().reason, "")
        self.assertIn("retry", str(recoil.Conflict()))


if __name__ == "__main__":
    unittest.main()
