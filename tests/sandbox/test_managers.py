"""Managers of a sandbox: a merchant connects, is charged for, and leaves, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from atom_stripe import errors
from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from atom_stripe.protocols import Profile

PAYMENT: dict[str, Any] = {
    "amount": 2000,
    "currency": "usd",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}


@pytest.mark.parametrize("profile", ["connect", "stripe_app"])
def test_a_merchant(profile: Profile) -> None:
    """A user of a sandbox's manager connects through the sandbox's consent and is charged for in the account that was chosen."""
    with StripeSandbox() as sandbox, sandbox.oauth_manager(profile=profile) as oauth:
        back = httpx.URL(sandbox.oauth.consent(oauth.authorize_url("user_1", session="browser"))).params
        account = oauth.callback(back["code"], back["state"], session="browser").account
        payment = sandbox.client(oauth=oauth).for_user("user_1").payment_intents.create(payment_method="pm_card_visa", **PAYMENT)
        found = sandbox.client().payment_intents.retrieve(payment.id, stripe_account=account)
        assert (found.status, found.amount) == ("succeeded", 2000)


def test_a_merchant_of_an_async_service() -> None:
    """The same in the async colour."""

    async def flow() -> None:
        with StripeSandbox() as sandbox:
            async with sandbox.async_oauth_manager() as oauth, sandbox.async_client(oauth=oauth) as stripe:
                back = httpx.URL(sandbox.oauth.consent(await oauth.authorize_url("user_1", session="browser"))).params
                await oauth.callback(back["code"], back["state"], session="browser")
                payment = await stripe.for_user("user_1").payment_intents.create(payment_method="pm_card_visa", **PAYMENT)
                assert payment.status == "succeeded"

    anyio.run(flow)


def test_a_payment_that_outlives_the_connection() -> None:
    """The fee of a payment that completes after the merchant left is still the platform's."""
    with StripeSandbox() as sandbox:
        oauth = sandbox.oauth_manager()
        back = httpx.URL(sandbox.oauth.consent(oauth.authorize_url("user_1", session="browser"))).params
        account = oauth.callback(back["code"], back["state"], session="browser").account
        stripe = sandbox.client(oauth=oauth)
        payment = stripe.for_user("user_1").payment_intents.create(
            payment_method="pm_card_threeDSecure2Required", application_fee_amount=150, **PAYMENT
        )
        assert payment.status == "requires_action"
        oauth.disconnect("user_1")
        sandbox.complete_action(payment.id, account=account)
        assert [fee.amount for fee in stripe.application_fees.list()] == [150]
        with pytest.raises(errors.NotConnectedError):
            stripe.for_user("user_1").payment_intents.retrieve(payment.id)
