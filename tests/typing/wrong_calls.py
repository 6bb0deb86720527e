"""
What a user gets wrong. Each error below must be reported: mypy runs with ``warn_unused_ignores``, so one that is not fails the check.

Nothing here is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atom_stripe import AsyncStripeClient, StripeClient
    from atom_stripe.models import Customer


def wrong_parameters(stripe: StripeClient) -> None:
    stripe.customers.create(emial="jenny@example.com")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    stripe.customers.create(email=42)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    stripe.payment_intents.create(currency="usd")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    stripe.payment_intents.create(amount="20.00", currency="usd")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    stripe.customers.create(address={"town": "Berlin"})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    stripe.customers.retrieve()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def wrong_options(stripe: StripeClient) -> None:
    stripe.customers.create(idempotence_key="order-42")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    stripe.customers.create(headers={"X-Mine": "1"})  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    stripe.with_options(account="acct_1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def wrong_names(stripe: StripeClient, customer: Customer) -> None:
    stripe.custommers.list()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    stripe.customers.craete()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    str(customer.emial)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


async def wrong_colours(stripe: AsyncStripeClient) -> None:
    for customer in stripe.customers.list():  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues]
        str(customer)
    str(stripe.customers.retrieve("cus_1").email)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
