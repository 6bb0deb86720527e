"""Webhooks of the sandbox: signed as Stripe signs, to functions and to URLs on this machine."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import stripe as official

from atom_stripe import WebhookVerifier
from atom_stripe.errors import ConfigurationError, StaleTimestampError
from atom_stripe.testing import StripeSandbox, sign
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


@contextmanager
def shop(answers: list[int], first: Callable[[list[int]], None] = lambda _: None) -> Iterator[tuple[str, list[tuple[bytes, str]]]]:
    """Serve a webhook endpoint that answers with *answers*, one after the other, and then with 200, doing *first* before each."""
    received: list[tuple[bytes, str]] = []

    class Shop(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.rfile.read(int(self.headers["Content-Length"])), self.headers["Stripe-Signature"]))
            first(answers)
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/webhooks", received
        finally:
            server.shutdown()
            thread.join()


def test_both_libraries_verify_it(sandbox: StripeSandbox) -> None:
    """What a function gets is accepted by our verifier and by stripe-python's."""
    heard: list[tuple[bytes, str]] = []
    endpoint = sandbox.webhooks.deliver_to(lambda body, signature: heard.append((body, signature)))
    customer = sandbox.client().customers.create()
    [(body, signature)] = heard
    ours = WebhookVerifier(endpoint.secret).verify(body, signature)
    theirs = official.Webhook.construct_event(body, signature, endpoint.secret)  # type: ignore[no-untyped-call]
    assert (ours.type, ours.data.object.id) == (theirs.type, theirs.data.object.id) == ("customer.created", customer.id)


def test_a_secret_of_ones_own(sandbox: StripeSandbox) -> None:
    """A given secret is used, and sign() makes the header that the sandbox sends."""
    heard: list[tuple[bytes, str]] = []
    sandbox.webhooks.signing_clock = lambda: 1_800_000_000.9
    endpoint = sandbox.webhooks.deliver_to(lambda *arrived: heard.append(arrived), secret=WEBHOOK_SECRET)
    sandbox.client().customers.create()
    [(body, signature)] = heard
    assert endpoint.secret == WEBHOOK_SECRET
    assert signature == sign(body, WEBHOOK_SECRET, timestamp=1_800_000_000)


def test_signatures_carry_the_real_time(sandbox: StripeSandbox) -> None:
    """A verifier with the real time accepts a delivery however far the sandbox's clock has moved, and none of a past time."""
    heard: list[str] = []
    endpoint = sandbox.webhooks.deliver_to(lambda body, signature: heard.append(verifier.verify(body, signature).type))
    verifier = WebhookVerifier(endpoint.secret)
    sandbox.clock.advance(days=400)
    sandbox.client().customers.create()
    sandbox.webhooks.signing_clock = lambda: 1_000_000_000
    sandbox.client().customers.create()
    assert heard == ["customer.created"]
    assert isinstance(sandbox.webhooks.deliveries[-1].error, StaleTimestampError)


def test_only_what_was_asked_for(sandbox: StripeSandbox) -> None:
    """An endpoint hears of its types alone."""
    heard: list[bytes] = []
    sandbox.webhooks.deliver_to(lambda body, _: heard.append(body), events=("customer.deleted",))
    customer = sandbox.client().customers.create()
    assert heard == []
    sandbox.client().customers.delete(customer.id)
    assert len(heard) == 1


def test_a_receiver_may_call_back(sandbox: StripeSandbox) -> None:
    """A receiver sees the committed state and may change it; what it causes is delivered after it has returned, once."""
    stripe, heard = sandbox.client(), []

    def receive(body: bytes, signature: str) -> None:
        event = WebhookVerifier(endpoint.secret).verify(body, signature)
        heard.append(event.type)
        if event.type == "customer.created":
            assert stripe.customers.retrieve(event.data.object.id).id == event.data.object.id
            stripe.customers.update(event.data.object.id, name="Jenny")
            assert heard == ["customer.created"]

    endpoint = sandbox.webhooks.deliver_to(receive)
    stripe.customers.create()
    assert heard == ["customer.created", "customer.updated"]
    assert all(delivery.ok for delivery in sandbox.webhooks.deliveries)


def test_a_receiver_that_fails(sandbox: StripeSandbox) -> None:
    """What a receiver raises is recorded and does not reach the caller; the event can be sent again."""
    failures = [KeyError("first"), None]

    def receive(body: bytes, signature: str) -> None:
        if failure := failures.pop(0):
            raise failure

    sandbox.webhooks.deliver_to(receive)
    stripe = sandbox.client()
    stripe.customers.create()
    (failed,) = sandbox.webhooks.deliveries
    assert (failed.ok, type(failed.error), failed.attempt) == (False, KeyError, 1)
    assert next(iter(stripe.events.list())).pending_webhooks == 1
    assert sandbox.webhooks.retry_failed() == 1
    assert [(delivery.ok, delivery.attempt) for delivery in sandbox.webhooks.deliveries] == [(False, 1), (True, 2)]
    assert next(iter(stripe.events.list())).pending_webhooks == 0
    assert sandbox.webhooks.retry_failed() == 0


def test_async_receivers(sandbox: StripeSandbox) -> None:
    """A coroutine function is awaited by an async client's call; a sync program is told what to do."""
    heard: list[bytes] = []

    async def receive(body: bytes, signature: str) -> None:
        await asyncio.sleep(0)
        heard.append(body)

    sandbox.webhooks.deliver_to(receive)

    async def main() -> None:
        async with sandbox.async_client() as stripe:
            await stripe.customers.create()

    asyncio.run(main())
    assert len(heard) == 1
    sandbox.client().customers.create()
    with pytest.raises(ConfigurationError, match="drain"):
        sandbox.webhooks.wait()
    asyncio.run(sandbox.webhooks.drain())
    assert len(heard) == 2


def test_a_url(sandbox: StripeSandbox) -> None:
    """A URL gets events in the order in which they happened, signed with its secret."""
    with shop([]) as (url, received):
        endpoint = sandbox.webhooks.deliver_to(url)
        for number in range(3):
            sandbox.client().customers.create(email=f"{number}@example.com")
        sandbox.webhooks.wait()
    verifier = WebhookVerifier(endpoint.secret)
    assert [verifier.verify(*arrived).data.object.email for arrived in received] == [f"{number}@example.com" for number in range(3)]
    assert all(delivery.ok and delivery.status == 200 for delivery in sandbox.webhooks.deliveries)


@pytest.mark.parametrize("status", [302, 400, 500])
def test_only_2xx_is_success(sandbox: StripeSandbox, status: int) -> None:
    """Another status is a failure, a redirect too, and nothing is tried again by itself."""
    with shop([status]) as (url, received):
        sandbox.webhooks.deliver_to(url)
        sandbox.client().customers.create()
        sandbox.webhooks.wait()
        assert [(delivery.ok, delivery.status) for delivery in sandbox.webhooks.deliveries] == [(False, status)]
        assert len(received) == 1
        assert sandbox.webhooks.retry_failed() == 1
        sandbox.webhooks.wait()
    assert len(received) == 2
    assert sandbox.webhooks.deliveries[-1].ok


def test_nobody_at_the_url(sandbox: StripeSandbox) -> None:
    """An endpoint that is down does not disturb the API; the delivery says that it failed."""
    with shop([]) as (url, _):
        pass
    sandbox.webhooks.deliver_to(url)
    sandbox.client().customers.create()
    sandbox.webhooks.wait()
    (delivery,) = sandbox.webhooks.deliveries
    assert (delivery.ok, delivery.status) == (False, None)


@pytest.mark.parametrize("url", ["https://example.com/webhooks", "ftp://127.0.0.1/", "http://10.0.0.1/", "http://", "http://[::1"])
def test_only_this_machine(sandbox: StripeSandbox, url: str) -> None:
    """A URL that leads elsewhere is refused."""
    with pytest.raises(ConfigurationError):
        sandbox.webhooks.deliver_to(url)


def test_endpoints_of_the_api(sandbox: StripeSandbox) -> None:
    """An endpoint that was created through the API is delivered to, with the secret that its creation showed; one elsewhere is not."""
    stripe = sandbox.client()
    with shop([]) as (url, received):
        made = stripe.webhook_endpoints.create(url=url, enabled_events=["customer.created"])
        stripe.webhook_endpoints.create(url="https://example.com/webhooks", enabled_events=["*"])
        stripe.customers.create()
        sandbox.webhooks.wait()
    assert WebhookVerifier(made.secret).verify(*received[0]).type == "customer.created"
    outcomes = {delivery.endpoint: delivery.ok for delivery in sandbox.webhooks.deliveries}
    assert outcomes.pop(made.id)
    assert list(outcomes.values()) == [False]


def test_connected_accounts(sandbox: StripeSandbox) -> None:
    """What happens in a connected account reaches the endpoints for connected accounts, and says whose it is."""
    heard: list[Any] = []
    own: list[bytes] = []
    endpoint = sandbox.webhooks.deliver_to(
        lambda body, signature: heard.append(WebhookVerifier(endpoint.secret).verify(body, signature)), connect=True
    )
    sandbox.webhooks.deliver_to(lambda body, _: own.append(body))
    account = sandbox.connect()
    sandbox.client(stripe_account=account.id).customers.create()
    assert [event.account for event in heard] == [account.id]
    assert own == []
    sandbox.client().customers.create()
    assert (len(heard), len(own)) == (1, 1)
