"""What a user writes. mypy and pyright, both strict, must accept all of it; nothing here is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from atom_stripe import AsyncPage, AsyncStripeClient, Event, EventNotification, Page, StripeClient, WebhookVerifier
from atom_stripe.models import Customer, PaymentIntent

if TYPE_CHECKING:
    from atom_stripe.resources.params.customers import CustomerCreateParams
    from atom_stripe.resources.params.v2.money_management.inbound_transfers import InboundTransferCreateParams


def sync_calls(stripe: StripeClient) -> None:
    customer = stripe.customers.create(
        email="jenny@example.com", address={"city": "Berlin", "country": "DE"}, metadata={"order": "42"}, idempotency_key="order-42"
    )
    assert_type(customer, Customer)
    assert_type(customer.email, str | None)
    payment = stripe.payment_intents.create(amount=2000, currency="usd", customer=customer.id, timeout=10, max_retries=0)
    assert_type(payment.amount, int)
    page = stripe.customers.list(limit=3, stripe_account="acct_1")
    assert_type(page, Page[Customer])
    for entry in page:
        assert_type(entry, Customer)
    merchant = stripe.with_options(stripe_account="acct_1", timeout=10)
    assert_type(merchant, StripeClient)
    assert_type(stripe.quotes.pdf("qt_1"), bytes)
    str(stripe.request("GET", "/v1/anything", {"limit": 3}, stripe_version="2026-10-28.endive").anything)
    stripe.checkout.sessions.create(
        mode="payment", line_items=[{"price": "price_1", "quantity": 1}], success_url="https://example.com"
    )
    stripe.v2.core.events.retrieve("evt_1")


def parameters_put_together_before(stripe: StripeClient) -> None:
    customer: CustomerCreateParams = {"email": "jenny@example.com", "metadata": {"order": "42"}}
    customer["idempotency_key"] = "order-42"
    stripe.customers.create(**customer)
    # A keyword of Python's can only be passed this way.
    transfer: InboundTransferCreateParams = {
        "amount": {"value": 1250, "currency": "usd"},
        "from": {"payment_method": "pm_1"},
        "to": {"financial_account": "fa_1", "currency": "usd"},
    }
    stripe.v2.money_management.inbound_transfers.create(**transfer)


async def async_calls(stripe: AsyncStripeClient) -> None:
    payment = await stripe.payment_intents.retrieve("pi_1", expand=["latest_charge"])
    assert_type(payment, PaymentIntent)
    assert_type(await stripe.payment_intents.list(limit=3), AsyncPage[PaymentIntent])
    async for entry in stripe.payment_intents.list(customer="cus_1"):
        assert_type(entry, PaymentIntent)


def webhooks(verifier: WebhookVerifier, body: bytes, signature: str) -> str:
    match verifier.verify(body, signature):
        case Event() as event:
            return str(event.data.object.id)
        case EventNotification() as notification:
            return notification.id
