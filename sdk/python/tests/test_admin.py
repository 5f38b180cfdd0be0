"""Commands are tested as an author would: on a cluster in memory."""

import unittest
from collections.abc import Sequence

import recoil
from recoil.fake import FakeCluster


class Notes(recoil.Handler, recoil.Admin):
    """Keeps notes, and says what was there before."""

    def handle(self, transaction: recoil.Transaction, request: bytes) -> bytes:
        before = transaction.get(b"note")
        transaction.put(b"note", request)
        return before or b""

    def commands(self) -> list[recoil.Command]:
        return [recoil.Command("note put", "KEY TEXT", "Keep a text.")]

    def run(self, arguments: Sequence[str], router: recoil.Router) -> str:
        match arguments:
            case ["note", "put", key, text]:
                return f"{key} was {router.call(recoil.RoutedCall(key.encode(), text.encode())).decode()!r}"
        raise recoil.Error("write note put KEY TEXT")


class AdminTest(unittest.TestCase):
    def test_a_command_reaches_the_data_by_the_router(self) -> None:
        notes = Notes()
        cluster = FakeCluster(notes)
        self.assertEqual(notes.run(["note", "put", "größe", "one"], cluster), "größe was ''")
        self.assertEqual(notes.run(["note", "put", "größe", "two"], cluster), "größe was 'one'")
        with self.assertRaisesRegex(recoil.Error, "write note put KEY TEXT"):
            notes.run(["note"], cluster)
        self.assertEqual(notes.commands(), [("note put", "KEY TEXT", "Keep a text.")])


if __name__ == "__main__":
    unittest.main()
