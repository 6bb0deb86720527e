"""
A server that answers every request at once with the same payment, in a process of its own: what is measured is the client.

It speaks just as much HTTP/1.1 as the contenders do: requests with a Content-Length, over connections that stay open. It prints
its port and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import cast

import payloads

try:
    from uvloop import run as _run
except ModuleNotFoundError:
    _run = asyncio.run  # type: ignore[assignment]

_BODY = payloads.payment_intent()
_ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"Request-Id: req_0000000000000\r\n"
    b"Stripe-Version: 2026-10-28.endive\r\n"
    b"Content-Length: %d\r\n"
    b"\r\n"
    b"%b"
) % (len(_BODY), _BODY)
_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Answers(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            head = self._received[:end].lower()
            _, found, rest = head.partition(_LENGTH)
            whole = end + len(_END) + (int(rest.partition(b"\r\n")[0]) if found else 0)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._transport.write(_ANSWER)


async def serve() -> None:
    """Serve until standard input ends, which it does when the process that started this one does."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    _run(serve())
