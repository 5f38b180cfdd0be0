"""Why something was refused.

Every error that this package raises on purpose is an `Error`, and one class for each kind of the contract lets an author
catch just that. Mistakes in the calling code (text where bytes are due, numbers out of range) are `TypeError` and
`ValueError` as everywhere in Python.
"""

from typing import ClassVar


class Error(Exception):
    """A refusal, in words for the caller: raise it to refuse a request.

    What the caller is told is `str(error)`. Any other exception that leaves a role counts as a mistake: it also rolls back,
    but its traceback goes to the package's log and the caller is told its type and text.
    """

    kind: ClassVar[str] = "error"
    """The contract's name of this kind of error."""

    _sentence: ClassVar[str] = "{}"

    @property
    def reason(self) -> str:
        """The text that it was raised with, or empty."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        """The reason, in a sentence that says what it is a reason for."""
        return self._sentence.format(self.reason)


class StorageError(Error):
    """Storage refused; nothing was written, unless a subclass says otherwise."""


class TooLarge(StorageError):
    """A key, a value or the writes of a transaction are above the app's limit. Retrying does not help."""

    kind = "too-large"


class ReadOnly(StorageError):
    """A write in a call that was routed as a read. Retrying does not help; the caller must route it as a write."""

    kind = "read-only"
    _sentence = "a write in a read-only call: route it with Mode.WRITE"


class QuotaExceeded(StorageError):
    """The app is over its storage quota. Retrying helps once data has been removed."""

    kind = "quota-exceeded"


class StorageUnavailable(StorageError):
    """No leader, too few replicas, or out of time. From a listener, a write's outcome may be unknown."""

    kind = "unavailable"
    _sentence = "storage is unavailable: {}"


class CallError(Error):
    """A routed call did not succeed."""


class Rejected(CallError):
    """The handler raised an `Error`; nothing was written. Retrying helps only if the handler says so."""

    kind = "rejected"


class Failed(CallError):
    """The handler trapped or ran out of its time or memory; nothing was written."""

    kind = "failed"
    _sentence = "the handler failed: {}"


class UnknownOutcome(CallError):
    """The leader was lost after the request was sent. A retry may apply the request twice."""

    kind = "unknown-outcome"
    _sentence = "the outcome is unknown: {}"


class Unavailable(CallError):
    """No leader or quorum in time; nothing was written. Retrying may help."""

    kind = "unavailable"
    _sentence = "the partition is unavailable: {}"


class Conflict(CallError):
    """A transaction lost to a conflicting one; nothing was written. Retry."""

    kind = "conflict"
    _sentence = "the transaction lost to a conflicting one: retry it"


class Disconnected(Error):
    """The client is gone, and its connection closed."""


class Closed(Disconnected):
    """The client closed the connection."""

    kind = "closed"
    _sentence = "the connection is closed"


class TimedOut(Disconnected):
    """The client sent or took nothing for the app's idle limit."""

    kind = "timed-out"
    _sentence = "the client was idle for too long"


class Broken(Disconnected):
    """The network failed."""

    kind = "failed"
    _sentence = "the connection failed: {}"


class LeadershipLost(Error):
    """This replica could not confirm with a quorum that it leads its Raft group."""

    kind = "unavailable"


def told(error: Exception) -> str:
    """What the caller is told of an exception that left a role."""
    return str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
