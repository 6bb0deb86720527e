"""Stripe's own Python library, unchanged, against the sandbox over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import stripe as official

from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYMENT = {"amount": 2000, "currency": "usd", "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


@pytest.fixture
def stripe() -> Iterator[Any]:
    http = official.RequestsClient() if hasattr(official, "RequestsClient") else None
    with StripeSandbox() as sandbox, sandbox.serve() as server:
        yield official.StripeClient(API_KEY, base_addresses={"api": server.url}, http_client=http, max_network_retries=0).v1
        if http is not None:
            http.close()


def test_a_payment_from_beginning_to_end(stripe: Any) -> None:
    """A payment is created, confirmed, found again with its charge expanded, and refunded in two parts."""
    customer = stripe.customers.create({"email": "jenny@example.com"})
    intent = stripe.payment_intents.create({**PAYMENT, "customer": customer.id})
    assert intent.status == "requires_payment_method"
    assert stripe.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
    found = stripe.payment_intents.retrieve(intent.id, {"expand": ["latest_charge", "customer"]})
    assert (found.latest_charge.amount, found.customer.email) == (2000, "jenny@example.com")
    assert [stripe.refunds.create({"payment_intent": intent.id, "amount": 1000}).status for _ in range(2)] == ["succeeded"] * 2
    assert stripe.charges.retrieve(found.latest_charge.id).refunded
    with pytest.raises(official.InvalidRequestError) as refused:
        stripe.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"


def test_a_decline(stripe: Any) -> None:
    """A declined card is the library's CardError, with code and decline code."""
    with pytest.raises(official.CardError) as declined:
        stripe.payment_intents.create(
            {**PAYMENT, "payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds", "confirm": True}
        )
    assert (declined.value.code, declined.value.error.decline_code) == ("card_declined", "insufficient_funds")
    assert declined.value.http_status == 402


def test_lists(stripe: Any) -> None:
    """A list comes in pages, newest first, and the library goes through all of them in both directions."""
    made = [stripe.customers.create().id for _ in range(5)]
    page = stripe.customers.list({"limit": 2})
    assert ([customer.id for customer in page.data], page.has_more) == (made[:2:-1], True)
    assert [customer.id for customer in page.auto_paging_iter()] == made[::-1]
    back = stripe.customers.list({"limit": 2, "ending_before": made[0]})
    assert {customer.id for customer in back.auto_paging_iter()} == set(made[1:])


def test_idempotency(stripe: Any) -> None:
    """One key is one payment, and another request under it is the library's IdempotencyError."""
    key = {"idempotency_key": "order-42"}
    first, second = (stripe.payment_intents.create(PAYMENT, key) for _ in range(2))
    assert first.id == second.id
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(official.IdempotencyError):
        stripe.payment_intents.create({**PAYMENT, "amount": 1}, key)


def test_errors(stripe: Any) -> None:
    """The library's errors carry status, code, parameter and request id."""
    with pytest.raises(official.InvalidRequestError) as missing:
        stripe.customers.retrieve("cus_nobody")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(official.InvalidRequestError) as incomplete:
        stripe.payment_intents.create({"currency": "usd"})
    assert (incomplete.value.code, incomplete.value.param) == ("parameter_missing", "amount")
