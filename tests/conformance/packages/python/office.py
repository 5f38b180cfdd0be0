"""The commands for operators: they reach the data by calls of the handler, and print what they were given."""

from collections.abc import Sequence

import recoil

from protocol import pack, unpack


class Office(recoil.Admin):
    """Runs commands as the protocol says."""

    def commands(self) -> list[recoil.Command]:
        """All that there are."""
        return [
            recoil.Command("key put", "KEY VALUE", "Put a value at a key."),
            recoil.Command("key get", "KEY", "Print the value of a key."),
            recoil.Command("echo", "WORDS…", "Print the words, each in brackets: [größe]."),
            recoil.Command("fail", "TEXT", "Refuse, for this reason."),
            recoil.Command("throw", "TEXT", "Throw an exception."),
        ]

    def run(self, arguments: Sequence[str], router: recoil.Router) -> str:
        """Run one of them."""
        match arguments:
            case ["key", "put", key, value]:
                _call(router, recoil.Mode.WRITE, "put", key, value)
                return ""
            case ["key", "get", key]:
                for value in _call(router, recoil.Mode.READ, "get", key):
                    return value.decode()
                raise recoil.Error("no such key")
            case ["echo", *words]:
                return "".join(f"[{word}]" for word in words)
            case ["fail", text]:
                raise recoil.Error(text)
            case ["throw", text]:
                raise RuntimeError(text)
        raise recoil.Error("no such command")


def _call(router: recoil.Router, mode: recoil.Mode, command: str, key: str, *more: str) -> list[bytes]:
    """What the handler of the key's partition answers."""
    request = pack(text.encode() for text in (command, key, *more))
    return unpack(router.call(recoil.RoutedCall(key.encode(), request, mode)))
