"""
What dj-stripe finds when it asks Stripe, in a process of its own: objects with the ids that it asks for, at once.

It prints its port and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any, cast

import payloads

try:
    from uvloop import run as _run
except ModuleNotFoundError:
    _run = asyncio.run  # type: ignore[assignment]

_INVOICE: dict[str, Any] = json.loads(payloads.invoice_event())["data"]["object"]


class Objects(asyncio.Protocol):
    """One connection. Requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            target = self._received.split(b" ", 2)[1].decode()
            self._received = self._received[end + 4 :]
            body = json.dumps(thing(target.partition("?")[0])).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )


def thing(path: str) -> dict[str, Any]:
    """Return the object at *path*, such as ``/v1/invoices/in_1``."""
    _, _, collection, identity, *_ = [*path.split("/"), "", ""]
    if collection in {"account", "accounts"}:
        return {"id": identity or "acct_00000000000000", "object": "account", "settings": {}, "metadata": {}}
    if collection == "invoices":
        return {**_INVOICE, "id": identity}
    return {
        "id": identity,
        "object": collection.removesuffix("s"),
        "livemode": False,
        "created": _INVOICE["created"],
        "metadata": {},
    }


async def serve() -> None:
    """Serve until standard input ends, which it does when the process that started this one does."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Objects, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    _run(serve())
