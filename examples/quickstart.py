"""
A customer, a payment and a list.

    STRIPE_SECRET_KEY=sk_test_… python examples/quickstart.py
"""

from __future__ import annotations

from atom_stripe import StripeClient

# The key comes from the environment. Amounts are in the currency's smallest unit: 2000 is 20 dollars.
with StripeClient() as stripe:
    customer = stripe.customers.create(email="jenny@example.com", name="Jenny Rosen")
    payment = stripe.payment_intents.create(
        amount=2000,
        currency="usd",
        customer=customer.id,
        payment_method="pm_card_visa",
        confirm=True,
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
    )
    print(f"{payment.id} over {payment.amount} {payment.currency} {payment.status}")
    for earlier in stripe.payment_intents.list(customer=customer.id):
        print(f"{customer.email} has {earlier.id}")
