"""
Posting over connections that stay open.

With the standard library: what Stripe's side of a webhook needs is one POST and one status, and tests send tens of thousands of them.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

# Bytes of an answer that are read so that its connection can serve again; of a longer one, the connection is closed.
_LONGEST_ANSWER = 65536
_SAFE = "/%:=&?~+!$,;'@()*[]"


class PostError(Exception):
    """A URL could not be reached, or what it answered is no HTTP. Says what went wrong by name, and nothing that came in."""


class Connections:
    """The connections of one thread, one for each host."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int | None], HTTPConnection] = {}

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        """
        Return the status that *url* answers.

        Raises:
            TimeoutError: It was silent for *timeout* seconds.
            PostError: It could not be reached, or did not speak HTTP.
        """
        try:
            parts = urlsplit(url)
            place = (parts.scheme, parts.hostname or "", parts.port)
            target = quote(f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", safe=_SAFE)
            connection = self._connection(place, timeout)
            try:
                connection.request("POST", target, body, dict(headers))
                return _status(connection, timeout)
            except BaseException:
                self._open.pop(place).close()
                raise
        except TimeoutError:
            msg = f"the endpoint did not answer within {timeout:g} seconds"
            raise TimeoutError(msg) from None
        except (OSError, HTTPException, ValueError) as error:
            msg = f"the endpoint could not be reached or gave no HTTP answer: {type(error).__name__}"
            raise PostError(msg) from None

    def hang_up(self) -> None:
        """Break what is going on, from another thread: whoever waits for an answer gets none."""
        for connection in list(self._open.values()):
            # Or it is over already.
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _connection(self, place: tuple[str, str, int | None], timeout: float) -> HTTPConnection:
        connection = self._open.get(place)
        if connection is None:
            scheme, host, port = place
            if scheme == "https":
                connection = HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
            else:
                connection = HTTPConnection(host, port, timeout=timeout)
            self._open[place] = connection
        elif connection.sock is not None:
            # Something to read before anything was asked: the other side has closed it, or talks nonsense.
            if select.select([connection.sock], [], [], 0)[0]:
                connection.close()
            else:
                connection.sock.settimeout(timeout)
        connection.timeout = timeout
        return connection


def _status(connection: HTTPConnection, timeout: float) -> int:
    """Read an answer. The status is all of it that counts; the rest is read for the sake of the connection, within bounds."""
    until = time.monotonic() + timeout
    with connection.getresponse() as response:
        length = 0
        while chunk := response.read1(_LONGEST_ANSWER):
            length += len(chunk)
            if length > _LONGEST_ANSWER:
                connection.close()
                break
            if time.monotonic() > until:
                raise TimeoutError
        return response.status
