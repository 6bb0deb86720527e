"""
Several payments at once, one of them declined.

    STRIPE_SECRET_KEY=sk_test_… python examples/async_quickstart.py
"""

from __future__ import annotations

import asyncio

from atom_stripe import AsyncStripeClient
from atom_stripe.errors import CardError

CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_visa_chargeDeclined")


async def charge(stripe: AsyncStripeClient, customer: str, card: str) -> str:
    """Take 20 dollars and say what became of it."""
    try:
        payment = await stripe.payment_intents.create(
            amount=2000,
            currency="usd",
            customer=customer,
            payment_method=card,
            confirm=True,
            automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
        )
    except CardError as error:
        return f"{card}: declined, {error.decline_code}. {error.message}"
    return f"{card}: {payment.status}"


async def main() -> None:
    """Pay with three cards at the same time."""
    async with AsyncStripeClient() as stripe:
        customer = await stripe.customers.create(email="jenny@example.com")
        for line in await asyncio.gather(*(charge(stripe, customer.id, card) for card in CARDS)):
            print(line)
        async for payment in stripe.payment_intents.list(customer=customer.id):
            print(f"{payment.id} is {payment.status}")


if __name__ == "__main__":
    asyncio.run(main())
