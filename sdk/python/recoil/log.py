"""Lines in the package's log, which the host keeps and fills in: node, partition, call.

In a component, `logging` ends here by itself: unless the package's module configures the root logger, it has a `LogHandler`
and passes INFO and above. `print` gets here too, as INFO, and what is written to `sys.stderr` as WARN. In a native test the
lines of `write` go to standard error.
"""

import logging
import sys
from enum import Enum

if sys.platform == "wasi":
    from recoil import _host as _here
else:
    from recoil import _native as _here


class Level(Enum):
    """How much a line matters."""

    TRACE = "trace"
    """Every step."""

    DEBUG = "debug"
    """For the author of the package."""

    INFO = "info"
    """For who runs it."""

    WARN = "warn"
    """Something is not as it should be."""

    ERROR = "error"
    """Something failed."""


def write(level: Level, message: str) -> None:
    """Write one line; above 8 KiB it is cut."""
    _here.write_log(level.value, message)


class LogHandler(logging.Handler):
    """Brings the records of `logging` to the package's log."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        """A handler that names the logger before each message, as other lines come from the package itself."""
        super().__init__(level)
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            write(_level(record.levelno), self.format(record))
        except Exception:
            self.handleError(record)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return Level.ERROR
    if number >= logging.WARNING:
        return Level.WARN
    if number >= logging.INFO:
        return Level.INFO
    return Level.DEBUG if number >= logging.DEBUG else Level.TRACE
