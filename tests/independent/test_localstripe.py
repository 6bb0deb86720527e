"""
The client and the verifier, held against a Stripe that we did not write.

localstripe is another project's imitation of Stripe. Its license is the GPL: it runs here as a program of its own, and nothing of
it is imported. It speaks an API of years ago (its events say 2017-08-15), reads forms with its own parser and signs webhooks with
its own code. Our sandbox and our client could agree on the same mistake; these two cannot.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from pydantic import SecretStr

from atom_stripe.client import AsyncStripeClient, StripeClient
from atom_stripe.config import RateLimits, RetryPolicy, StripeConfig
from atom_stripe.errors import (
    AuthenticationError,
    CardError,
    InvalidRequestError,
    InvalidSignatureError,
    NotFoundError,
    ServerError,
)
from atom_stripe.models import Charge, Customer, Event, Invoice, PaymentIntent, PaymentMethod, Refund, Subscription
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import API_KEY, RESTRICTED_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

START = Path(__file__).parent / "start"
# Bounds for what is usually over in a second or two; they are only reached when something is broken.
PATIENCE = 60.0
VISA = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "123"}
DECLINED_WHEN_CHARGED = {**VISA, "number": "4000000000000341"}
NEEDS_AUTHENTICATION = {**VISA, "number": "4000002500003155"}
ORDER = {"order": "42"}


def launch(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start localstripe on a free port, and return it with its address once it answers."""
    # Nothing of our environment is passed on: no coverage, no proxies, no keys.
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    environment |= {"PYTHONPATH": str(START), "OTHER_STRIPE_FOLDER": str(folder)}
    output = folder / "output.txt"
    # Between our choice of a port and its use of it, somebody else may take it; then another one is tried.
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "localstripe", "--from-scratch", "--port", str(port)]
        with output.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        address = f"http://127.0.0.1:{port}"
        if answers(process, address):
            return process, address
        stop(process)
    msg = f"localstripe does not start. It wrote: {output.read_text(encoding='utf-8', errors='replace')[-2000:]}"
    raise RuntimeError(msg)


def answers(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until *process* answers at *address*. False: it ended, or took too long."""
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{address}/v1/events", auth=(API_KEY, ""), trust_env=False).is_success:
                return True
        except httpx.TransportError:
            time.sleep(0.05)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End *process*, also if it does not want to."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = launch(tmp_path_factory.mktemp("localstripe"))
    yield address
    stop(process)


@pytest.fixture
def address(running: str) -> str:
    """Where the other Stripe is, with nothing in it."""
    httpx.delete(f"{running}/_config/data", trust_env=False).raise_for_status()
    return running


def settings(address: str, **changes: Any) -> StripeConfig:
    return StripeConfig(
        api_key=SecretStr(API_KEY),
        api_base=address,
        retry=RetryPolicy(attempts=2, initial_delay=0),
        rate_limits=RateLimits.NONE,
        **changes,
    )


class Blocking:
    """The sync client: what it returns is there already."""

    def __init__(self, config: StripeConfig) -> None:
        self.stripe: Any = StripeClient(config=config)

    def get(self, answer: Any) -> Any:
        return answer

    def all(self, pages: Any) -> list[Any]:
        return list(pages)

    def close(self) -> None:
        self.stripe.close()


class Native:
    """The async client, asked in the same words: ``get`` waits for what it returns."""

    def __init__(self, config: StripeConfig) -> None:
        self.stripe: Any = AsyncStripeClient(config=config)
        self.runner = asyncio.Runner()

    def get(self, answer: Any) -> Any:
        async def awaited() -> Any:
            return await answer

        return self.runner.run(awaited())

    def all(self, pages: Any) -> list[Any]:
        async def collected() -> list[Any]:
            return [entry async for entry in pages]

        return self.runner.run(collected())

    def close(self) -> None:
        self.get(self.stripe.close())
        self.runner.close()


Client = Blocking | Native


@pytest.fixture(params=["httpx", "fast"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[Blocking, Native], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, transport: str, address: str) -> Iterator[Client]:
    client = request.param(settings(address, transport=transport))
    yield client
    client.close()


def paid(client: Client, **params: Any) -> PaymentIntent:
    """Take a payment of 20 dollars with a card that works."""
    method = client.get(client.stripe.payment_methods.create(type="card", card=VISA))
    return client.get(
        client.stripe.payment_intents.create(amount=2000, currency="usd", payment_method=method.id, confirm=True, **params)
    )


def test_customers(client: Client) -> None:
    """A customer is created, read, changed and deleted; a change of the metadata leaves its other entries alone."""
    customers = client.stripe.customers
    created = client.get(customers.create(email="jenny@example.com", metadata=ORDER))
    assert isinstance(created, Customer)
    assert (created.email, created.metadata) == ("jenny@example.com", ORDER)
    changed = client.get(customers.update(created.id, name="Jenny Rosen", metadata={"shelf": "7"}))
    assert (changed.id, changed.name, changed.metadata) == (created.id, "Jenny Rosen", {"order": "42", "shelf": "7"})
    assert client.get(customers.retrieve(created.id)) == changed
    assert client.get(customers.delete(created.id)).deleted is True
    with pytest.raises(NotFoundError) as caught:
        client.get(customers.retrieve(created.id))
    assert (caught.value.status, caught.value.message) == (404, "Not Found")


def test_text_survives(client: Client) -> None:
    """What our encoder writes, a form parser that we did not write reads as the same text."""
    name = "Zoë & Søn + 100 % = ☃;\r\n\"<?#/\\>' 𝄞"
    metadata = {"a&b=c": "d+e f", "é": "0", "spaces": "  "}
    created = client.get(client.stripe.customers.create(name=name, metadata=metadata))
    found = client.get(client.stripe.customers.retrieve(created.id))
    assert (found.name, found.metadata) == (name, metadata)


def test_pages(client: Client) -> None:
    """A loop over a list goes through all of its pages, and each customer comes once."""
    emails = [f"{number}@example.com" for number in range(5)]
    for email in emails:
        client.get(client.stripe.customers.create(email=email))
    assert len(client.get(client.stripe.customers.list(limit=2))) == 2
    assert [customer.email for customer in client.all(client.stripe.customers.list(limit=2))] == emails


def test_payment_and_refund(client: Client) -> None:
    """A saved card is charged, and a part of the charge is given back."""
    customer = client.get(client.stripe.customers.create(email="jenny@example.com"))
    method = client.get(client.stripe.payment_methods.create(type="card", card=VISA))
    assert isinstance(method, PaymentMethod)
    assert method.card.last4 == "4242"
    method = client.get(client.stripe.payment_methods.attach(method.id, customer=customer.id))
    assert method.customer == customer.id
    payment = client.get(
        client.stripe.payment_intents.create(
            amount=2000,
            currency="usd",
            customer=customer.id,
            payment_method=method.id,
            confirm=True,
            metadata=ORDER,
            idempotency_key="order-42",
        )
    )
    assert isinstance(payment, PaymentIntent)
    assert (payment.status, payment.amount, payment.metadata) == ("succeeded", 2000, ORDER)
    # This Stripe always puts the whole charge where the real one puts its id unless asked.
    assert isinstance(payment.latest_charge, Charge)
    assert (payment.latest_charge.amount, payment.latest_charge.status) == (2000, "succeeded")
    refund = client.get(client.stripe.refunds.create(payment_intent=payment.id, amount=500))
    assert isinstance(refund, Refund)
    assert (refund.amount, refund.status, refund.charge) == (500, "succeeded", payment.latest_charge.id)
    assert client.all(client.stripe.refunds.list(payment_intent=payment.id)) == [refund]


def test_declined_card(client: Client) -> None:
    """A card that is refused raises CardError with the reason, although this Stripe calls the type of the error another way."""
    method = client.get(client.stripe.payment_methods.create(type="card", card=DECLINED_WHEN_CHARGED))
    with pytest.raises(CardError) as caught:
        client.get(client.stripe.payment_intents.create(amount=2000, currency="usd", payment_method=method.id, confirm=True))
    error = caught.value
    assert (error.status, error.type, error.code) == (402, "invalid_request_error", "card_declined")
    assert error.message == "Your card was declined."
    assert (error.retryable, error.outcome_unknown, error.attempts) == (False, False, 1)
    assert client.get(client.stripe.charges.retrieve(error.payload["charge"])).status == "failed"


def test_authentication_required(client: Client) -> None:
    """A card that wants 3-D Secure leaves the payment at requires_action, with what to do next."""
    method = client.get(client.stripe.payment_methods.create(type="card", card=NEEDS_AUTHENTICATION))
    payment = client.get(client.stripe.payment_intents.create(amount=2000, currency="usd", payment_method=method.id, confirm=True))
    assert (payment.status, payment.next_action.type) == ("requires_action", "use_stripe_sdk")
    assert client.get(client.stripe.payment_intents.cancel(payment.id)).status == "canceled"


def test_subscription(client: Client) -> None:
    """A subscription in the shape of years ago reads like one of today: its period, its plan, and the invoice that it made."""
    customer = client.get(client.stripe.customers.create(email="jenny@example.com"))
    method = client.get(client.stripe.payment_methods.create(type="card", card=VISA))
    client.get(client.stripe.payment_methods.attach(method.id, customer=customer.id))
    client.get(client.stripe.customers.update(customer.id, invoice_settings={"default_payment_method": method.id}))
    product = client.get(client.stripe.products.create(name="Book club"))
    plan = client.get(client.stripe.plans.create(product=product.id, amount=1500, currency="usd", interval="month"))
    subscription = client.get(client.stripe.subscriptions.create(customer=customer.id, items=[{"plan": plan.id, "quantity": 2}]))
    assert isinstance(subscription, Subscription)
    assert (subscription.status, subscription.customer) == ("active", customer.id)
    assert subscription.current_period_start == subscription["current_period_start"]
    assert subscription.current_period_end == subscription["current_period_end"] > subscription.current_period_start
    items = list(subscription["items"])
    assert [(item.plan.id, item.quantity) for item in items] == [(plan.id, 2)]
    invoices = client.all(client.stripe.invoices.list(subscription=subscription.id))
    assert all(isinstance(invoice, Invoice) for invoice in invoices)
    assert [(invoice.total, invoice.status, invoice.subscription_id) for invoice in invoices] == [(3000, "paid", subscription.id)]
    assert client.get(client.stripe.payment_intents.retrieve(invoices[0].payment_intent_id)).status == "succeeded"
    assert client.get(client.stripe.subscriptions.cancel(subscription.id)).status == "canceled"
    assert client.all(client.stripe.subscriptions.list(customer=customer.id)) == []


def test_refusals(client: Client) -> None:
    """A wrong parameter and a key that this Stripe does not take raise the errors that say so, and neither is sent again."""
    with pytest.raises(InvalidRequestError, match="Unexpected shoe_size") as wrong:
        client.get(client.stripe.customers.create(shoe_size=42))
    other = client.stripe.with_options(api_key=RESTRICTED_KEY)
    with pytest.raises(AuthenticationError, match="Unauthorized") as refused:
        client.get(other.customers.list())
    assert [(error.value.status, error.value.attempts) for error in (wrong, refused)] == [(400, 1), (401, 1)]


def test_server_error(client: Client) -> None:
    """A 500 is tried again, and then said to be what it is: an answer that leaves open what was done."""
    payment = client.get(client.stripe.payment_intents.create(amount=2000, currency="usd"))
    with pytest.raises(ServerError, match="Not implemented") as caught:
        client.get(client.stripe.payment_intents.confirm(payment.id, payment_method="pm_card_visa"))
    assert (caught.value.status, caught.value.attempts, caught.value.outcome_unknown) == (500, 2, True)


def test_request_without_a_method(client: Client) -> None:
    """``request`` reaches what has no method, and takes parameters as the methods do."""
    created = client.get(client.stripe.request("POST", "/v1/products", {"name": "Book club", "metadata": ORDER}))
    assert (created.object, created.name, created.metadata["order"]) == ("product", "Book club", "42")


def test_nothing_is_lost_in_reading(client: Client, address: str) -> None:
    """``to_dict()`` gives every field that was sent, also those that Stripe gave up years ago."""
    payment = paid(client)
    url = f"{address}/v1/payment_intents/{payment.id}"
    sent = httpx.get(url, auth=(API_KEY, ""), trust_env=False).json()
    assert payment.to_dict() == sent
    assert {"charges", "invoice"} <= sent.keys()


@pytest.mark.parametrize("transport", ["httpx"])
def test_official_client_sees_the_same(transport: str, address: str) -> None:
    """Stripe's own client, from ``stripe.sdk``, reads what ours wrote, and ours what it wrote."""
    with StripeClient(config=settings(address, transport=transport)) as stripe:
        ours = stripe.customers.create(email="jenny@example.com", metadata=ORDER)
        assert stripe.sdk.v1.customers.retrieve(ours.id).to_dict() == ours.to_dict()
        theirs = stripe.sdk.v1.customers.create({"email": "tom@example.com", "metadata": {"order": "43"}})
        assert stripe.customers.retrieve(theirs.id).to_dict() == theirs.to_dict()


class Letter(NamedTuple):
    path: str
    body: bytes
    signature: str | None


class Mailbox:
    """A web server that keeps what is sent to it."""

    def __init__(self) -> None:
        self.letters: queue.Queue[Letter] = queue.Queue()
        letters = self.letters

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                letters.put(Letter(self.path, body, self.headers["Stripe-Signature"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def take(self, about: str) -> Letter:
        """Return the next letter about the object with this id. This Stripe sends a second late: others may be of earlier tests."""
        while True:
            letter = self.letters.get(timeout=PATIENCE)
            if json.loads(letter.body)["data"]["object"]["id"] == about:
                return letter

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


def test_webhooks(address: str, mailbox: Mailbox) -> None:
    """A webhook that somebody else's code signed verifies with its endpoint's secret and no other, and brings the typed object."""
    other_secret = f"{WEBHOOK_SECRET}x"
    wanted = ["payment_intent.succeeded"]
    for name, secret in (("ours", WEBHOOK_SECRET), ("other", other_secret)):
        endpoint = {"url": f"{mailbox.url}/{name}", "secret": secret, "events": wanted}
        httpx.post(f"{address}/_config/webhooks/{name}", json=endpoint, trust_env=False).raise_for_status()
    client = Blocking(settings(address))
    payment = paid(client, metadata={"customer": "Zoë"})
    client.close()
    from_other, from_ours = sorted((mailbox.take(payment.id), mailbox.take(payment.id)), key=lambda letter: letter.path == "/ours")
    verifier = WebhookVerifier(WEBHOOK_SECRET)
    event = verifier.verify(from_ours.body, from_ours.signature)
    assert isinstance(event, Event)
    assert (event.type, event.api_version, event.livemode) == ("payment_intent.succeeded", "2017-08-15", False)
    told = event.data.object
    assert isinstance(told, PaymentIntent)
    assert (told.id, told.status, told.metadata) == (payment.id, "succeeded", {"customer": "Zoë"})
    # What this Stripe leaves out, the event does not have.
    assert (event.request, event.account, event.data.previous_attributes) == (None, None, None)
    with pytest.raises(InvalidSignatureError):
        verifier.verify(from_other.body, from_other.signature)
    with pytest.raises(InvalidSignatureError):
        verifier.verify(from_ours.body.replace(b"2000", b"2001"), from_ours.signature)
    assert WebhookVerifier([other_secret, WEBHOOK_SECRET]).verify(from_other.body, from_other.signature) == event
