"""The transports over real sockets: what breaks, what is said of it, and what a client survives."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atom_stripe import AsyncStripeClient, RateLimits, RetryPolicy, StripeClient, StripeConfig
from atom_stripe.errors import ClientClosedError, ConnectionFailedError, InvalidResponseError, TimeoutExceededError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "sk_test_" + "t" * 24
BODY = b'{"id": "cus_1", "object": "customer"}'
GOOD = b"HTTP/1.1 200 OK\r\nRequest-Id: req_1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Wire:
    """A server of bytes: each request on each connection is answered by the next of *behaviours*, the last one for ever."""

    def __init__(self, *behaviours: Callable[[socket.socket], bool]) -> None:
        self._behaviours = list(behaviours)
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while request := read_request(connection):
                self.requests.append(request)
                behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
                if not behaviour(connection):
                    return
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Read one request, with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := connection.recv(65536)):
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while lengths and len(body) < lengths[0]:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def good(connection: socket.socket) -> bool:
    connection.sendall(GOOD)
    return True


def reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False


def hang_up(connection: socket.socket) -> bool:
    connection.close()
    return False


def silence(_connection: socket.socket) -> bool:
    return False


def cut_off(connection: socket.socket) -> bool:
    connection.sendall(GOOD[:-10])
    connection.close()
    return False


def stall(connection: socket.socket) -> bool:
    connection.sendall(GOOD[:-10])
    return False


def garbage(connection: socket.socket) -> bool:
    connection.sendall(b"SMTP ready\r\n\r\n")
    connection.close()
    return False


def endless(connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(300):
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    return False


def redirect(connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    return True


@contextmanager
def served(*behaviours: Callable[[socket.socket], bool]) -> Iterator[Wire]:
    wire = Wire(*behaviours)
    try:
        yield wire
    finally:
        wire.close()


class Kind:
    """A colour and a transport."""

    def __init__(self, colour: str, transport: str) -> None:
        self.colour = colour
        self.transport = transport

    def config(self, url: str, **settings: Any) -> StripeConfig:
        defaults = {"retry": RetryPolicy.NONE, "rate_limits": RateLimits.NONE, "timeout": 5.0, "transport": self.transport}
        return StripeConfig(**{"api_key": KEY, "api_base": url, **defaults, **settings})

    def calls(self, url: str, *, count: int = 1, reads: bool = False, **settings: Any) -> list[Any]:
        """Make *count* calls with one client, one after the other."""
        config = self.config(url, **settings)
        if self.colour == "sync":
            with StripeClient(config=config) as stripe:
                return [stripe.customers.retrieve("cus_1") if reads else stripe.customers.create() for _ in range(count)]

        async def main() -> list[Any]:
            async with AsyncStripeClient(config=config) as stripe:
                return [await (stripe.customers.retrieve("cus_1") if reads else stripe.customers.create()) for _ in range(count)]

        return anyio.run(main, backend=self.colour)


KINDS = [("sync", "httpx"), ("sync", "fast"), ("asyncio", "httpx"), ("asyncio", "fast"), ("trio", "httpx"), ("trio", "fast")]


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(*request.param)


def test_calls_share_a_connection(kind: Kind) -> None:
    """Five calls of one client use one connection, and bring what the server sent."""
    with served(good) as wire:
        customers = kind.calls(wire.url, count=5)
    assert [(customer.id, customer.request_id) for customer in customers] == [("cus_1", "req_1")] * 5
    assert wire.connections == 1


@pytest.mark.parametrize("behaviour", [reset, hang_up, cut_off], ids=lambda behaviour: behaviour.__name__)
def test_a_connection_that_breaks_leaves_a_write_unknown(kind: Kind, behaviour: Any) -> None:
    """The request was on its way: it may have been carried out, and the error says so and can be retried."""
    with served(behaviour) as wire, pytest.raises(TransportError) as caught:
        kind.calls(wire.url)
    assert isinstance(caught.value, ConnectionFailedError)
    assert (caught.value.outcome_unknown, caught.value.retryable) == (True, True)


def test_a_refused_connection_did_nothing(kind: Kind) -> None:
    """Nobody listens: nothing was sent, so nothing is unknown."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionFailedError) as caught:
        kind.calls(f"http://127.0.0.1:{port}")
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("behaviour", [silence, stall], ids=lambda behaviour: behaviour.__name__)
def test_a_server_that_does_not_finish_times_out(kind: Kind, behaviour: Any) -> None:
    """An answer that never comes, or never ends, is a timeout of unknown outcome."""
    with served(behaviour) as wire, pytest.raises(TimeoutExceededError) as caught:
        kind.calls(wire.url, timeout=0.3)
    assert caught.value.outcome_unknown


def test_what_is_not_http_is_an_error_of_the_tree(kind: Kind) -> None:
    """Something else on the port does not leak the HTTP library's exceptions."""
    with served(garbage) as wire, pytest.raises(TransportError):
        kind.calls(wire.url)


# httpx leaves generators of its own unfinished when a body is not read to its end; only trio says so.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
def test_an_answer_without_end_is_cut(kind: Kind) -> None:
    """Memory is bounded by max_response_bytes, whatever the server sends."""
    with served(endless) as wire, pytest.raises(InvalidResponseError, match="max_response_bytes"):
        kind.calls(wire.url, max_response_bytes=100_000)


def test_redirects_are_not_followed(kind: Kind) -> None:
    """A redirect would take the key to another host: it is an error, and nothing else is asked."""
    with served(redirect) as wire, pytest.raises(Exception, match="redirect"):
        kind.calls(wire.url)
    assert len(wire.requests) == 1


def test_a_retry_goes_over_a_new_connection_with_the_same_key(kind: Kind) -> None:
    """After a broken connection the same request, to the byte of its key, goes over another one."""
    with served(reset, good) as wire:
        kind.calls(wire.url, retry=RetryPolicy(attempts=2, initial_delay=0.01))
    keys = [line for request in wire.requests for line in request.split(b"\r\n") if line.lower().startswith(b"idempotency-key")]
    assert (len(keys), len(set(keys))) == (2, 1)


def test_errors_of_the_wire_hold_no_url_and_no_key(kind: Kind) -> None:
    """What the HTTP library says, with its URLs, stays out of our errors."""
    with served(reset) as wire, pytest.raises(TransportError) as caught:
        kind.calls(wire.url)
    shown = f"{caught.value!s}{caught.value!r}{vars(caught.value)}{caught.value.__cause__!r}"
    assert wire.url not in shown
    assert KEY not in shown
    assert caught.value.__suppress_context__


def test_a_proxy_never_sees_what_goes_to_this_machine(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP to loopback carries the key in clear: proxies of the environment are passed by."""
    with served(good) as wire, served(good) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        kind.calls(wire.url)
    assert (len(wire.requests), proxy.requests) == (1, [])


def test_a_closed_client_says_so(kind: Kind) -> None:
    """A call after close() is a clear error, not a hang."""
    with served(good) as wire:
        if kind.colour == "sync":
            stripe = StripeClient(config=kind.config(wire.url))
            stripe.customers.create()
            stripe.close()
            with pytest.raises(ClientClosedError):
                stripe.customers.create()
            return

        async def main() -> None:
            stripe = AsyncStripeClient(config=kind.config(wire.url))
            await stripe.customers.create()
            await stripe.close()
            with pytest.raises(ClientClosedError):
                await stripe.customers.create()

        anyio.run(main, backend=kind.colour)


@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_an_async_client_survives_its_event_loops(transport: str) -> None:
    """One client, three event loops one after another, and no warning of a connection left open."""
    with served(good) as wire:
        stripe = AsyncStripeClient(config=Kind("asyncio", transport).config(wire.url))

        async def main() -> str:
            return (await stripe.customers.create()).id

        assert [asyncio.run(main()) for _ in range(3)] == ["cus_1"] * 3
        assert anyio.run(main, backend="trio") == "cus_1"


@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_event_loops_in_several_threads_share_a_client(transport: str) -> None:
    """Four threads with a loop each use one async client at once."""
    with served(good) as wire:
        stripe = AsyncStripeClient(config=Kind("asyncio", transport).config(wire.url))

        async def main() -> list[str]:
            return [customer.id for customer in await asyncio.gather(*(stripe.customers.create() for _ in range(5)))]

        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: asyncio.run(main()), range(4)))
    assert found == [["cus_1"] * 5] * 4


@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_threads_share_a_sync_client(transport: str) -> None:
    """Eight threads make forty calls with one client."""
    with served(good) as wire, StripeClient(config=Kind("sync", transport).config(wire.url)) as stripe:
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: stripe.customers.create().id, range(40))) == ["cus_1"] * 40
        # The fast transport may open one while another becomes free.
        assert wire.connections < 20


def test_a_sync_client_works_inside_a_running_loop() -> None:
    """A sync call in an async program blocks, and works."""
    with served(good) as wire, StripeClient(config=Kind("sync", "httpx").config(wire.url)) as stripe:

        async def main() -> str:
            return stripe.customers.create().id

        assert asyncio.run(main()) == "cus_1"


@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_connections_are_bounded(transport: str) -> None:
    """Twenty calls at once over max_connections=3 use no more than three connections, and all are answered."""
    with served(good) as wire:

        async def main() -> int:
            async with AsyncStripeClient(config=Kind("asyncio", transport).config(wire.url, max_connections=3)) as stripe:
                return len(await asyncio.gather(*(stripe.customers.create() for _ in range(20))))

        assert asyncio.run(main()) == 20
    # The fast transport counts requests, and may open a connection while another becomes free.
    assert wire.connections <= (3 if transport == "httpx" else 9)


@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_a_cancelled_call_leaves_the_client_whole(transport: str) -> None:
    """After a call was cancelled in the middle the next one works."""
    with served(silence, good) as wire:

        async def main() -> str:
            async with AsyncStripeClient(config=Kind("asyncio", transport).config(wire.url, max_connections=1)) as stripe:
                call = asyncio.ensure_future(stripe.customers.create())
                while not wire.requests:  # noqa: ASYNC110 - the server is a thread
                    await asyncio.sleep(0.01)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                return (await stripe.customers.create()).id

        assert asyncio.run(main()) == "cus_1"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("transport", ["httpx", "fast"])
def test_a_client_survives_fork(transport: str) -> None:
    """A child of fork() makes its own connections with the parent's client, and the parent goes on with its own."""
    with served(good) as wire, StripeClient(config=Kind("sync", transport).config(wire.url)) as stripe:
        stripe.customers.create()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            # Nothing of pytest may run in the child.
            try:
                os.write(writer, stripe.customers.create().id.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            assert answers.read() == b"cus_1"
        os.waitpid(child, 0)
        assert stripe.customers.create().id == "cus_1"
    assert wire.connections == 2
