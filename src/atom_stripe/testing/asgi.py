"""The sandbox as an ASGI application: for uvicorn, or to be mounted beside one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe._wire.messages import Reply, Request
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing._state.faults import LostAnswerError
from atom_stripe.testing._state.machine import Outcome
from atom_stripe.testing._state.requests import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from atom_stripe.testing.sandbox import StripeSandbox

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


class SandboxApp:
    """``uvicorn`` can run it: it answers HTTP and the lifespan messages, and nothing else."""

    def __init__(self, sandbox: StripeSandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            reply = await self._sandbox.handle_async(await _request(scope, receive))
        except Refusal as refusal:
            outcome = Outcome.of(refusal)
            reply = Reply(outcome.status, {"content-type": "application/json"}, outcome.body)
        except LostAnswerError as lost:
            if lost.timed_out:
                while (await receive())["type"] != "http.disconnect":
                    pass
            # A promise of a body that never comes: the server has to break the connection.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            return
        headers = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in reply.headers.items()]
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})


async def _request(scope: MutableMapping[str, Any], receive: Receive) -> Request:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Refusal(413, f"The body is longer than {MAX_BODY} bytes.")
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    url = (path + b"?" + query if query else path).decode("latin-1")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], url, headers, bytes(body) or None)


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
