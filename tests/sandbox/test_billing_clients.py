"""Billing as programs meet it: through the clients of both colours, Stripe's own library, and signed webhooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import stripe as official
import trio

from atom_stripe import WebhookVerifier
from atom_stripe.errors import CardError
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY
from tests.sandbox.billing_world import SHOES, URLS, press

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD = "pm_card_visa"


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


def test_half_a_year(sandbox: StripeSandbox) -> None:
    """A client subscribes a customer, half a year goes by, and each of its months was billed and paid."""
    stripe = sandbox.client()
    product = stripe.products.create(name="Gold")
    price = stripe.prices.create(product=product.id, currency="usd", unit_amount=2000, recurring={"interval": "month"})
    customer = stripe.customers.create(payment_method=CARD, invoice_settings={"default_payment_method": CARD})
    subscription = stripe.subscriptions.create(customer=customer.id, items=[{"price": price.id}])
    assert subscription.status == "active"
    sandbox.clock.advance(days=180)
    invoices = list(stripe.invoices.list(subscription=subscription.id, limit=5))
    assert [(invoice.status, invoice.total, invoice.subscription_id) for invoice in invoices] == [
        ("paid", 2000, subscription.id)
    ] * 6
    assert len({invoice.number for invoice in invoices}) == 6
    assert sum(payment.amount for payment in stripe.payment_intents.list(customer=customer.id)) == 12000
    renewed = stripe.subscriptions.retrieve(subscription.id)
    assert (renewed.current_period_end or 0) > sandbox.clock.now.timestamp()
    assert stripe.subscriptions.cancel(subscription.id).status == "canceled"


def test_half_a_year_asynchronously(sandbox: StripeSandbox) -> None:
    """The async client meets the same, on asyncio and on trio."""

    async def main() -> tuple[str, list[str]]:
        async with sandbox.async_client() as stripe:
            product = await stripe.products.create(name="Gold")
            price = await stripe.prices.create(
                product=product.id, currency="usd", unit_amount=2000, recurring={"interval": "month"}
            )
            customer = await stripe.customers.create(payment_method=CARD, invoice_settings={"default_payment_method": CARD})
            subscription = await stripe.subscriptions.create(customer=customer.id, items=[{"price": price.id}])
            sandbox.clock.advance(days=180)
            paid = [invoice.status async for invoice in stripe.invoices.list(subscription=subscription.id, limit=5)]
            found = [row.id async for row in await stripe.subscriptions.search(query="status:'active'")]
            assert subscription.id in found
            return subscription.status, [str(status) for status in paid]

    assert asyncio.run(main()) == ("active", ["paid"] * 6)
    assert trio.run(main) == ("active", ["paid"] * 6)


def test_a_declined_invoice(sandbox: StripeSandbox) -> None:
    """An invoice that cannot be paid is a CardError, whose payment is the invoice's."""
    stripe = sandbox.client()
    customer = stripe.customers.create(
        payment_method="pm_card_chargeCustomerFail", invoice_settings={"default_payment_method": "pm_card_chargeCustomerFail"}
    )
    data: Any = {"currency": "usd", "unit_amount": 900, "product_data": {"name": "Gold"}, "recurring": {"interval": "week"}}
    price = stripe.prices.create(**data)
    subscription = stripe.subscriptions.create(customer=customer.id, items=[{"price": price.id}])
    invoice = stripe.invoices.retrieve(str(subscription.latest_invoice), expand=["payments", "confirmation_secret"])
    with pytest.raises(CardError) as declined:
        stripe.invoices.pay(invoice.id)
    assert declined.value.payload["payment_intent"]["id"] == invoice.payment_intent_id
    assert stripe.payment_intents.retrieve(str(invoice.payment_intent_id)).client_secret == invoice.confirmation_client_secret


def test_webhooks_of_a_checkout(sandbox: StripeSandbox) -> None:
    """The page of a session, completed by a customer, sends signed webhooks."""
    heard: list[tuple[str, str]] = []

    def receive(body: bytes, signature: str) -> None:
        event = verifier.verify(body, signature)
        heard.append((event.type, event.to_dict()["data"]["object"]["id"]))

    endpoint = sandbox.webhooks.deliver_to(receive, events=("checkout.*",))
    verifier = WebhookVerifier(endpoint.secret)
    stripe = sandbox.client()
    items: Any = [SHOES]
    session = stripe.checkout.sessions.create(mode="payment", line_items=items, **URLS)
    press(sandbox, str(session.url), "pay")
    assert heard == [("checkout.session.completed", session.id)]
    assert [item.amount_total for item in stripe.checkout.sessions.line_items.list(session.id)] == [1800]


def test_stripes_own_library(sandbox: StripeSandbox) -> None:
    """Stripe's library sets a card up, subscribes, and reads what it expects."""
    http = official.RequestsClient() if hasattr(official, "RequestsClient") else None
    with sandbox.serve() as server:
        stripe: Any = official.StripeClient(API_KEY, base_addresses={"api": server.url}, http_client=http, max_network_retries=0).v1
        customer = stripe.customers.create()
        automatic = {"enabled": True, "allow_redirects": "never"}
        setup = stripe.setup_intents.create(
            {"customer": customer.id, "payment_method": CARD, "confirm": True, "automatic_payment_methods": automatic}
        )
        price = stripe.prices.create(
            {"currency": "usd", "unit_amount": 900, "product_data": {"name": "Gold"}, "recurring": {"interval": "year"}}
        )
        subscription = stripe.subscriptions.create(
            {
                "customer": customer.id,
                "items": [{"price": price.id, "quantity": 2}],
                "default_payment_method": setup.payment_method,
                "expand": ["latest_invoice.payments"],
            }
        )
        assert (subscription.status, subscription.latest_invoice.total) == ("active", 1800)
        assert subscription.latest_invoice.payments.data[0].status == "paid"
        assert stripe.subscriptions.cancel(subscription.id, {"cancellation_details": {"feedback": "unused"}}).status == "canceled"
        assert [row.id for row in stripe.products.search({"query": "name~'gol'"}).data] == [price.product]
        if http is not None:
            http.close()
