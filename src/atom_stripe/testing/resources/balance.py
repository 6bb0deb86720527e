"""
The balance: what is available and what is still on its way, by currency.

Source: https://docs.stripe.com/api/balance
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

BALANCE = Kind("balance", "")

# The sandbox's own account is in the United States; its balance exists before the first payment.
_HOME_CURRENCY = "usd"


def current(work: Transaction) -> Row:
    """Return the balance as it is now."""
    sums: dict[str, dict[str, int]] = {"available": defaultdict(int), "pending": defaultdict(int)}
    currencies = {_HOME_CURRENCY}
    for row in work.rows("balance_transaction"):
        sums[row["status"]][row["currency"]] += row["net"]
        currencies.add(row["currency"])

    def amounts(status: str) -> list[Row]:
        return [
            {"amount": sums[status][currency], "currency": currency, "source_types": {"card": sums[status][currency]}}
            for currency in sorted(currencies)
        ]

    return {"object": "balance", "available": amounts("available"), "livemode": False, "pending": amounts("pending")}


@route("GET", "/v1/balance")
def retrieve(call: Call) -> Row:
    return current(call)
