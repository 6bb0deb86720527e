"""
The account that a request works in, as far as the sandbox knows it.

Source: https://docs.stripe.com/api/accounts/object
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.clock import START
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

ACCOUNT = Kind("account", "acct", 16)


@route("GET", "/v1/account")
def retrieve(call: Call) -> Row:
    """Return the account of the key, or the connected one that ``Stripe-Account`` names."""
    return {
        "id": call.account.id,
        "object": "account",
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": int(START.timestamp()),
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }
