"""Commands that run in the handler and in the listener alike, on the storage that there is."""

import random
import time

import recoil

from protocol import Commands, Invalid, number, option, optional, pairs, text, truth

COMMANDS = Commands()


@COMMANDS.add
def echo(storage: recoil.Storage, *items: bytes) -> list[bytes]:
    return list(items)


@COMMANDS.add
def get(storage: recoil.Storage, key: bytes) -> list[bytes]:
    value = storage.get(key)
    return [] if value is None else [value]


@COMMANDS.add
def get_many(storage: recoil.Storage, *keys: bytes) -> list[bytes]:
    return [option(value) for value in storage.get_many(keys)]


@COMMANDS.add
def put(storage: recoil.Storage, key: bytes, value: bytes) -> None:
    storage.put(key, value)


@COMMANDS.add
def put_many(storage: recoil.Storage, *entries: bytes) -> None:
    storage.put_many(pairs(entries))


@COMMANDS.add
def bump(storage: recoil.Storage, key: bytes, value: bytes) -> list[bytes]:
    before = storage.get(key)
    storage.put(key, value)
    return [option(before)]


@COMMANDS.add
def remove(storage: recoil.Storage, key: bytes) -> None:
    storage.remove(key)


@COMMANDS.add
def remove_range(storage: recoil.Storage, start: bytes, end: bytes) -> None:
    storage.remove_range(recoil.KeyRange(start, optional(end)))


@COMMANDS.add
def scan(storage: recoil.Storage, start: bytes, end: bytes, limit: bytes, reverse: bytes) -> list[bytes]:
    page = storage.scan_page(recoil.KeyRange(start, optional(end)), number(limit), reverse=truth(reverse))
    return [item for entry in page for item in entry]


@COMMANDS.add
def log(storage: recoil.Storage, level: bytes, message: bytes) -> None:
    try:
        recoil.log.write(recoil.log.Level(text(level)), text(message))
    except ValueError as error:
        raise Invalid(str(error)) from None


@COMMANDS.add
def print_(storage: recoil.Storage, line: bytes) -> None:
    print(text(line))


@COMMANDS.add
def setting(storage: recoil.Storage, name: bytes) -> list[bytes]:
    value = recoil.settings.get(text(name))
    return [] if value is None else [value.encode()]


@COMMANDS.add
def churn(storage: recoil.Storage, count: bytes) -> list[bytes]:
    strings = [str(at) for at in range(number(count))]
    return [str(sum(map(len, strings))).encode()]


@COMMANDS.add
def clock(storage: recoil.Storage) -> list[bytes]:
    return [b"%d" % (time.time_ns() // 1000)]


@COMMANDS.add
def random_(storage: recoil.Storage) -> list[bytes]:
    return [random.randbytes(16)]
