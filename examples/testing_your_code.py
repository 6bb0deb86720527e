"""
How to test code that takes payments: with a Stripe in the same process, offline, and its bad days on demand.

    pytest examples/testing_your_code.py
"""

# ruff: noqa: S101 - tests assert

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atom_stripe import Event, StripeClient, WebhookVerifier
from atom_stripe.errors import CardError
from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


# Your code.


def charge(stripe: StripeClient, order: str, amount: int, card: str) -> str:
    """Take the payment of an order and return what to tell the customer."""
    try:
        payment = stripe.payment_intents.create(
            amount=amount,
            currency="usd",
            payment_method=card,
            confirm=True,
            automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
            metadata={"order": order},
            idempotency_key=f"order-{order}-{card}",
        )
    except CardError as error:
        return error.message
    return "Please confirm with your bank." if payment.status == "requires_action" else "Thank you!"


# Your tests.


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    """A Stripe of this test alone. The seed makes every run the same, down to the ids."""
    with StripeSandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def stripe(sandbox: StripeSandbox) -> Iterator[StripeClient]:
    """A client of that Stripe; nothing leaves the process."""
    with sandbox.client() as stripe:
        yield stripe


def test_a_good_card_is_charged(stripe: StripeClient) -> None:
    """A good card is charged the amount of the order."""
    assert charge(stripe, "42", 2000, "pm_card_visa") == "Thank you!"
    assert [payment.amount_received for payment in stripe.payment_intents.list()] == [2000]


def test_a_declined_card_is_not(stripe: StripeClient) -> None:
    """A declined card is charged nothing, and the customer learns of it."""
    assert "declined" in charge(stripe, "42", 2000, "pm_card_visa_chargeDeclined")
    assert [payment.amount_received for payment in stripe.payment_intents.list()] == [0]


def test_a_lost_answer_does_not_charge_twice(sandbox: StripeSandbox, stripe: StripeClient) -> None:
    """When the connection breaks after the payment was made, the client asks again, and there is one payment."""
    sandbox.faults.next(drop_after=True)
    assert charge(stripe, "42", 2000, "pm_card_visa") == "Thank you!"
    assert len(list(stripe.payment_intents.list())) == 1


def test_a_webhook_tells_of_the_payment(sandbox: StripeSandbox, stripe: StripeClient) -> None:
    """The payment is followed by a webhook, signed as Stripe signs."""
    heard: list[str] = []

    def endpoint(body: bytes, signature: str) -> None:
        event = WebhookVerifier(registered.secret).verify(body, signature)
        if isinstance(event, Event) and event.type == "payment_intent.succeeded":
            heard.append(event.data.object.metadata["order"])

    registered = sandbox.webhooks.deliver_to(endpoint)
    charge(stripe, "42", 2000, "pm_card_visa")
    sandbox.webhooks.wait()
    assert heard == ["42"]
