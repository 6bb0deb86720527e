"""The sandbox in place of the network, for httpx of either colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from atom_stripe._wire.messages import Request
from atom_stripe.testing._state.faults import LostAnswerError

if TYPE_CHECKING:
    from atom_stripe._wire.messages import Reply
    from atom_stripe.testing.sandbox import StripeSandbox


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers every request from the sandbox's state, whatever host it is for. Nothing leaves the process."""

    def __init__(self, sandbox: StripeSandbox) -> None:
        self._sandbox = sandbox

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of a sync client."""
        body = request.read()
        try:
            return _response(self._sandbox.handle(_asked(request, body)))
        except LostAnswerError as lost:
            raise _failure(lost, request) from None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of an async client."""
        body = await request.aread()
        try:
            return _response(await self._sandbox.handle_async(_asked(request, body)))
        except LostAnswerError as lost:
            raise _failure(lost, request) from None


def _asked(request: httpx.Request, body: bytes) -> Request:
    return Request(request.method, str(request.url), dict(request.headers), body or None)


def _response(reply: Reply) -> httpx.Response:
    return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


def _failure(lost: LostAnswerError, request: httpx.Request) -> httpx.TransportError:
    # At once: a test does not want to wait for what it asked for.
    if lost.timed_out:
        return httpx.ReadTimeout("the sandbox was told not to answer", request=request)
    return httpx.ReadError("the sandbox was told to break the connection", request=request)
