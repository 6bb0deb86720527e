"""The sandbox over HTTP."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from atom_stripe import StripeClient
from atom_stripe.config import RetryPolicy
from atom_stripe.errors import ConnectionFailedError, NotFoundError, TimeoutExceededError
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from atom_stripe.testing import SandboxServer

TRANSPORTS = pytest.mark.parametrize("transport", ["httpx", "fast"])


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def server(sandbox: StripeSandbox) -> Iterator[SandboxServer]:
    with sandbox.serve() as server:
        yield server


def raw(server: SandboxServer, sent: bytes) -> tuple[int, dict[str, Any]]:
    """Send *sent* as it is, and return the status and the JSON of the first answer, which ends the connection."""
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@TRANSPORTS
def test_our_client(sandbox: StripeSandbox, server: SandboxServer, transport: str) -> None:
    """Our client works over HTTP as it does in the process, with the same state behind it."""
    with StripeClient(config=server.config(transport=transport)) as stripe:
        made = stripe.customers.create(email="jörg@example.com")
        assert stripe.customers.retrieve(made.id).email == "jörg@example.com"
        with pytest.raises(NotFoundError):
            stripe.customers.retrieve("cus_nobody")
    assert [customer.id for customer in sandbox.client().customers.list()] == [made.id]


@TRANSPORTS
def test_a_lost_answer(sandbox: StripeSandbox, server: SandboxServer, transport: str) -> None:
    """A lost answer is a connection that ends without one."""
    with StripeClient(config=server.config(transport=transport)) as stripe:
        sandbox.faults.next(drop_after=True)
        assert stripe.customers.create().idempotent_replayed
        sandbox.faults.next(drop=True)
        with pytest.raises(ConnectionFailedError) as broken:
            stripe.customers.create(max_retries=0)
        assert broken.value.outcome_unknown


@TRANSPORTS
def test_no_answer(sandbox: StripeSandbox, server: SandboxServer, transport: str) -> None:
    """A timeout is a connection that stays silent until the caller gives up."""
    sandbox.faults.next(timeout=True)
    with (
        StripeClient(config=server.config(transport=transport, retry=RetryPolicy.NONE, timeout=0.2)) as stripe,
        pytest.raises(TimeoutExceededError),
    ):
        stripe.customers.create()


def test_closing_ends_silent_connections(sandbox: StripeSandbox) -> None:
    """A server that closes does not wait for callers that wait for it."""
    server = sandbox.serve()
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port), timeout=10) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while not idle.recv(65536).endswith(b"}"):
            pass
        server.close()
        assert idle.recv(1) == b""
    server.close()


def test_a_connection_is_used_again(server: SandboxServer) -> None:
    """Connections stay open between requests."""
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {API_KEY}"}) as client:
        streams = []
        for _ in range(3):
            with client.stream("GET", f"{server.url}/v1/customers") as answer:
                streams.append(answer.extensions["network_stream"].get_extra_info("client_addr"))
                assert answer.read()
    assert len(set(streams)) == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /v1/customers HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST /v1/customers HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/customers HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /v1/customers HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /v1/customers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"BREW /evil HTTP/1.1\r\n\r\n", 501),
        (b"GET //evil.example/v1/customers HTTP/1.1\r\nConnection: close\r\n\r\n", 401),
        (b"OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n", 401),
        (b"evil\r\n\r\n", 400),
        (b"GET /v1/customers HTTP/7.0\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_odd_requests(server: SandboxServer, sent: bytes, status: int) -> None:
    """Whatever comes in, the answer is one of Stripe's shape, and nothing of the request is in it."""
    answered, body = raw(server, sent)
    assert answered == status
    assert body["error"]["type"] == "invalid_request_error"
    assert "evil" not in body["error"]["message"]


def test_a_huge_body(server: SandboxServer) -> None:
    """A caller that sends too much still gets to read why it was refused."""
    with httpx.Client(trust_env=False) as client:
        answer = client.post(f"{server.url}/v1/customers", content=b"a" * 3_000_000)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")


def test_half_a_body(server: SandboxServer) -> None:
    """A caller that goes away in the middle of a body disturbs nobody."""
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/customers HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
    with StripeClient(config=server.config()) as stripe:
        assert list(stripe.customers.list()) == []


def test_head(server: SandboxServer) -> None:
    """A HEAD is answered with a head alone."""
    with httpx.Client(trust_env=False) as client:
        answer = client.head(f"{server.url}/v1/customers")
        assert (answer.status_code, answer.content) == (401, b"")
        assert client.get(f"{server.url}/v1/customers").status_code == 401


def test_a_mistake_of_our_own(sandbox: StripeSandbox, server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the sandbox is a 500 that says so, and is not tried again."""

    def broken(request: Any) -> Any:
        raise KeyError(API_KEY)

    monkeypatch.setattr(sandbox._machine, "handle", broken)
    with httpx.Client(trust_env=False) as client:
        answer = client.get(f"{server.url}/v1/customers")
    assert (answer.status_code, answer.headers["stripe-should-retry"]) == (500, "false")
    assert "KeyError" in answer.json()["error"]["message"]


def test_addresses(sandbox: StripeSandbox) -> None:
    """Two servers of a sandbox listen on this machine, each at its own port."""
    with sandbox.serve() as first, sandbox.serve() as second:
        assert first.url != second.url
        assert first.url.startswith("http://127.0.0.1:")
        with pytest.raises(OSError, match=r"."):
            sandbox.serve(port=int(first.url.rpartition(":")[2]))
