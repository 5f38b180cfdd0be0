"""Commands of the listener."""

from __future__ import annotations

import recoil

from protocol import Commands, Invalid, answered, mode, number, option, pairs, unpack

COMMANDS = Commands()


class Session:
    """What the listener's commands work on: a client's connection, or its HTTP request, and what it has subscribed to."""

    def __init__(self, router: recoil.Router, peer_address: str, connection: recoil.Connection | None = None) -> None:
        """A session without subscriptions; `connection` is None over HTTP."""
        self.router = router
        self.peer_address = peer_address
        self.subscriptions: list[recoil.Subscription] = []
        self._connection = connection

    @property
    def connection(self) -> recoil.Connection:
        """The connection, for commands that need one."""
        if self._connection is None:
            raise Invalid("this command needs a connection: ask over TCP")
        return self._connection

    def subscribe(self, topic: bytes) -> None:
        """Subscribes, for as long as the connection is open."""
        if self.connection:
            self.subscriptions.append(self.router.subscribe(topic))


def _answer(result: bytes | recoil.CallError) -> bytes:
    """The answer of one call of several, as one item."""
    return answered(result if isinstance(result, recoil.Error) else unpack(result))


def _calls(how: bytes, arguments: tuple[bytes, ...]) -> list[recoil.RoutedCall]:
    return [recoil.RoutedCall(key, request, mode(how)) for key, request in pairs(arguments)]


def _place(info: recoil.PartitionInfo) -> list[bytes]:
    leader = option(None if info.leader is None else b"%d" % info.leader)
    return [b"%d" % info.id, leader, ",".join(map(str, info.replicas)).encode(), b"%d" % info.epoch]


@COMMANDS.add
def call(session: Session, how: bytes, key: bytes, request: bytes) -> list[bytes]:
    return unpack(session.router.call(recoil.RoutedCall(key, request, mode(how))))


@COMMANDS.add
def call_partition(session: Session, how: bytes, id: bytes, request: bytes) -> list[bytes]:
    return unpack(session.router.call(recoil.RoutedCall(number(id), request, mode(how))))


@COMMANDS.add
def call_many(session: Session, how: bytes, *arguments: bytes) -> list[bytes]:
    return [_answer(result) for result in session.router.call_many(_calls(how, arguments))]


@COMMANDS.add
def submit(session: Session, how: bytes, *arguments: bytes) -> list[bytes]:
    pending = [session.router.submit(routed) for routed in _calls(how, arguments)]
    return [_answer(result) for result in session.router.wait_all(pending)]


@COMMANDS.add
def leave(session: Session, count: bytes, key: bytes, request: bytes) -> None:
    for _ in range(number(count)):
        session.router.submit(recoil.RoutedCall(key, request))


@COMMANDS.add
def transact(session: Session, *arguments: bytes) -> list[bytes]:
    return session.router.transact(_calls(b"write", arguments))


@COMMANDS.add
def scatter(session: Session, how: bytes, request: bytes) -> list[bytes]:
    return [_answer(result) for result in session.router.scatter(request, mode(how))]


@COMMANDS.add
def locate(session: Session, key: bytes) -> list[bytes]:
    return _place(session.router.locate(key))


@COMMANDS.add
def partitions(session: Session) -> list[bytes]:
    return [b"%d" % len(session.router.partitions())]


@COMMANDS.add
def subscribe(session: Session, topic: bytes) -> None:
    session.subscribe(topic)


@COMMANDS.add
def next_(session: Session, subscription: bytes, timeout: bytes) -> list[bytes]:
    if number(subscription) >= len(session.subscriptions):
        raise Invalid(f"there is no subscription {number(subscription)}: there are {len(session.subscriptions)}")
    message = session.subscriptions[number(subscription)].next(number(timeout))
    return [] if message is None else [message]


@COMMANDS.add
def wait(session: Session, timeout: bytes) -> list[bytes]:
    ready = session.connection.wait_any(session.subscriptions, timeout_ms=number(timeout))
    if ready is None:
        return []
    if ready is session.connection:
        return [b"readable"]
    return [b"message", b"%d" % session.subscriptions.index(ready)]


@COMMANDS.add
def peer(session: Session) -> list[bytes]:
    return [session.peer_address.encode()]
