"""
Sends requests over so many connections, in a process of its own: ``poster.py URL CONNECTIONS [GET]``.

Each line on standard input is a number of deliveries, none of which was sent before, or of requests that are all the same. The answer is a line
of JSON: the seconds from the first request to the last answer. An answer other than 200 ends the program.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deliveries import Deliveries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deliveries import Delivery

try:
    from uvloop import run as _run
except ModuleNotFoundError:
    _run = asyncio.run  # type: ignore[assignment]

_HEAD = "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nStripe-Signature: {}\r\nContent-Length: {}\r\n\r\n"
_GET = "GET {} HTTP/1.1\r\nHost: {}\r\nX-User: user_1\r\n\r\n"


async def post(url: str, connections: int, method: str = "POST") -> None:
    """Do what standard input says."""
    parts = urlsplit(url)
    deliveries = Deliveries()
    for line in sys.stdin:
        count = int(line)
        if method == "GET":
            requests = [_GET.format(parts.path, parts.netloc).encode()] * count
        else:
            requests = [_request(parts.path, parts.netloc, delivery) for delivery in deliveries.take(count)]
        # New ones: servers close what was idle for some seconds.
        opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(connections)]
        gc.collect()
        start = perf_counter()
        waiting = iter(requests)
        await asyncio.gather(*(_work(*streams, waiting) for streams in opened))
        print(json.dumps({"seconds": perf_counter() - start}), flush=True)
        for _, writer in opened:
            writer.close()


async def _work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Iterator[bytes]) -> None:
    for request in requests:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        body = await reader.readexactly(int(length.partition(b":")[2]))
        if not head.startswith(b"http/1.1 200 "):
            raise SystemExit(f"the server answered {head!r} {body[:500]!r}")


def _request(path: str, host: str, delivery: Delivery) -> bytes:
    body, signature = delivery
    return _HEAD.format(path, host, signature, len(body)).encode() + body


if __name__ == "__main__":
    _run(post(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
