"""Commands of the handler."""

import os
import sys
from typing import NoReturn

import recoil

from protocol import Commands, number, text

COMMANDS = Commands()


@COMMANDS.add
def current(transaction: recoil.Transaction) -> list[bytes]:
    place = transaction.place
    return [place.keyspace.encode(), *(b"%d" % number for number in (place.id, place.count, place.epoch))]


@COMMANDS.add
def now(transaction: recoil.Transaction) -> list[bytes]:
    return [b"%d" % transaction.now_us]


@COMMANDS.add
def is_read_only(transaction: recoil.Transaction) -> list[bytes]:
    return [b"true" if transaction.is_read_only else b"false"]


@COMMANDS.add
def set_timer(transaction: recoil.Transaction, id: bytes, delay: bytes, payload: bytes) -> None:
    transaction.set_timer(id, transaction.now_us + number(delay), payload)


@COMMANDS.add
def cancel_timer(transaction: recoil.Transaction, id: bytes) -> None:
    transaction.cancel_timer(id)


@COMMANDS.add
def publish(transaction: recoil.Transaction, topic: bytes, message: bytes) -> None:
    transaction.publish(topic, message)


@COMMANDS.add
def status(transaction: recoil.Transaction) -> list[bytes]:
    group = recoil.consensus.status()
    numbers = (group.term, group.committed, group.applied, len(group.voters))
    return [group.role.value.encode(), *(b"%d" % value for value in numbers)]


@COMMANDS.add
def barrier(transaction: recoil.Transaction) -> list[bytes]:
    return [b"%d" % recoil.consensus.barrier()]


class AsToldError(recoil.Error):
    """An error whose text the caller chose, and which reaches it as it is."""


@COMMANDS.add
def put_and_fail(transaction: recoil.Transaction, key: bytes, value: bytes, why: bytes) -> NoReturn:
    transaction.put(key, value)
    raise AsToldError(text(why))


@COMMANDS.add
def put_and_throw(transaction: recoil.Transaction, key: bytes, value: bytes, why: bytes) -> NoReturn:
    transaction.put(key, value)
    raise RuntimeError(text(why))


@COMMANDS.add
def trap(transaction: recoil.Transaction) -> NoReturn:
    os.abort()


@COMMANDS.add
def loop(transaction: recoil.Transaction) -> NoReturn:
    while True:
        pass


@COMMANDS.add
def bomb(transaction: recoil.Transaction) -> NoReturn:
    kept = []
    while True:
        kept.append(b"x" * (1 << 20))


@COMMANDS.add
def recurse(transaction: recoil.Transaction) -> NoReturn:
    def deeper() -> NoReturn:
        deeper()

    sys.setrecursionlimit(1_000_000)
    deeper()
