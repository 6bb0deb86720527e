"""
A marketplace takes a payment for one of its sellers, and keeps a part of it.

    STRIPE_SECRET_KEY=sk_test_… python examples/connected_account.py acct_…

The payment is made in the seller's account (a direct charge); the platform's share is its application fee.
"""

from __future__ import annotations

import sys

from atom_stripe import StripeClient
from atom_stripe.errors import PermissionDeniedError


def main(account: str) -> None:
    """Sell something in the name of *account*."""
    with StripeClient() as stripe:
        # Cheap: the seller's client uses the platform's key and connections, and sends Stripe-Account with every call.
        seller = stripe.with_options(stripe_account=account)
        try:
            payment = seller.payment_intents.create(
                amount=5000,
                currency="usd",
                application_fee_amount=400,
                payment_method="pm_card_visa",
                confirm=True,
                automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
            )
        except PermissionDeniedError:
            sys.exit(f"{account} is not connected to this platform, or no longer.")
        print(f"The seller's payment {payment.id} {payment.status}, our share is {payment.application_fee_amount}.")
        print(f"Payments in the seller's account: {len(list(seller.payment_intents.list()))}")
        print(f"Payments in our own: {len(list(stripe.payment_intents.list()))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
