"""What every answer of the reference application goes through: headers for browsers, and a line in the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ACCESS = logging.getLogger("atom_stripe.access")
# For two years, as browsers' lists of such hosts ask: https://datatracker.ietf.org/doc/html/rfc6797
_HSTS = (b"strict-transport-security", b"max-age=63072000")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    # Answers are data: nothing in them is loaded, run or framed.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-frame-options", b"DENY"),
    # A URL of ours may hold a code of Stripe's: other sites do not see it.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_LONGEST_PATH = 200


class Guard:
    """ASGI middleware. A header that an answer brings itself is left as it is. No query string, no body and no header gets into the log."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                wanted = (*_HEADERS, _HSTS) if scope["scheme"] == "https" else _HEADERS
                message["headers"] = [*headers, *(pair for pair in wanted if pair[0] not in there)]
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        finally:
            _log(scope, status, time.perf_counter() - began)


def _log(scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
    method, path = scope["method"], str(scope["path"])[:_LONGEST_PATH]
    client = scope.get("client")
    fields = {
        "method": method,
        "path": path,
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
        "address": client[0] if client else None,
    }
    # Quoted, so that no path makes lines of its own.
    ACCESS.info("%s %r %d", method, path, status, extra=fields)
