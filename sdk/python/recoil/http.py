"""Requests and answers of an `HttpHandler`.

The host reads a request to its end, and sends an answer whole. Deliberately absent: routing, cookies, forms: bring a package.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote


@dataclass(slots=True)
class HttpRequest:
    """A request, read to its end."""

    method: str
    """`GET`, say."""

    path: str
    """From the first slash up to the question mark, as sent: percent-encoding is not undone."""

    query: str = ""
    """Behind the question mark, without it, as sent."""

    headers: list[tuple[str, bytes]] = field(default_factory=list)
    """Lower-case names and values, in the order sent."""

    body: bytes = b""
    peer_address: str = "127.0.0.1:50312"
    """The client, as `address:port`."""

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case; bytes that are not UTF-8 are escaped (PEP 383)."""
        wanted = name.lower()
        return next((value.decode("utf-8", "surrogateescape") for other, value in self.headers if other == wanted), None)

    def segments(self) -> list[str]:
        """The parts of the path between slashes, percent-encoding undone. An encoded slash stays inside its part."""
        return [unquote(part, errors="surrogateescape") for part in self.path.split("/") if part]

    def query_value(self, name: str) -> str | None:
        """The first value of that name in the query, percent-encoding and plus signs undone; empty if it has none."""
        pairs = parse_qsl(self.query, keep_blank_values=True, errors="surrogateescape")
        return next((value for other, value in pairs if other == name), None)


@dataclass(slots=True)
class HttpResponse:
    """An answer. The length, and whatever belongs to the connection, are the host's."""

    status: int = 200
    """200 to 599."""

    headers: Iterable[tuple[str, str | bytes]] = ()
    body: bytes = b""

    @staticmethod
    def text(text: str, status: int = 200) -> HttpResponse:
        """An answer in plain text."""
        return HttpResponse(status, [("content-type", "text/plain; charset=utf-8")], text.encode("utf-8", "surrogateescape"))

    @staticmethod
    def json(value: Any, status: int = 200) -> HttpResponse:
        """An answer in JSON: whatever `json.dumps` takes."""
        return HttpResponse(status, [("content-type", "application/json")], json.dumps(value).encode())
