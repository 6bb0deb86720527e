"""The parts of a transport that do not depend on the HTTP library."""

from __future__ import annotations

import sys
import time

from atom_stripe.errors import InvalidResponseError, TimeoutExceededError

CLOSED = "this client is closed"
UNTRUSTED = "the server's certificate was not accepted: is a proxy in between, or is the system's clock wrong?"


class Body:
    """Collects an answer's body, up to a size and until a moment."""

    __slots__ = ("_chunks", "_late", "_left", "_until")

    def __init__(self, limit: int, timeout: float) -> None:
        self._chunks: list[bytes] = []
        self._left = limit
        self._until = time.monotonic() + timeout
        self._late = False

    def add(self, chunk: bytes) -> None:
        """Keep *chunk*; refuse an answer without end, by size or by drips that each come in time."""
        self._left -= len(chunk)
        if self._left < 0:
            msg = "the answer is longer than max_response_bytes"
            raise InvalidResponseError(msg, outcome_unknown=True)
        if self._late:
            msg = "Stripe's answer did not end in time"
            raise TimeoutExceededError(msg, outcome_unknown=True)
        # What is here is kept, even if we were late to look: there may be no other way to learn what became of the request.
        self._late = time.monotonic() > self._until
        self._chunks.append(chunk)

    def joined(self) -> bytes:
        """Return the whole body."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


def in_trio() -> bool:
    """Return whether the caller runs under trio."""
    # Another thread may be importing trio right now; then nobody runs in it yet.
    asked = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "in_trio_run", None)
    return asked is not None and bool(asked())


def current_loop() -> object:
    """Return what stands for the running event loop: asyncio's loop, or trio's token."""
    if in_trio():
        return sys.modules["trio"].lowlevel.current_trio_token()
    import asyncio

    return asyncio.get_running_loop()
