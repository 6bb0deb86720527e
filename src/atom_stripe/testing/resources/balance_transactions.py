"""
Balance transactions: every movement of money, and what Stripe keeps of it.

Money of payments is pending for two days, then available. Source: https://docs.stripe.com/api/balance_transactions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import unsupported
from atom_stripe.testing._state.expansion import ANY
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Currency, Id, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import balance

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

BALANCE_TRANSACTION = Kind("balance_transaction", "txn", expands={"source": ANY})

_TWO_DAYS = 2 * 24 * 60 * 60
# Of every charge, in ten-thousandths and minor units. What Stripe takes depends on country, card and contract; this is a plain case.
_FEE_RATE, _FEE_FIXED = 290, 30


def record(
    work: Transaction,
    source: Row,
    amount: int,
    *,
    type: str,
    description: str | None = None,
    fees: list[Row] | None = None,
    available_on: int | None = None,
) -> Row:
    """Record that *amount* moved because of *source*, into the account or, if negative, out of it."""
    when = work.now + _TWO_DAYS if available_on is None else available_on
    details = fees or []
    fee = sum(entry["amount"] for entry in details)
    row = work.add(
        {
            "id": work.new_id(BALANCE_TRANSACTION),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": when,
            "balance_type": "payments",
            "created": work.now,
            "currency": source["currency"],
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": details,
            "net": amount - fee,
            "reporting_category": "fee" if type == "application_fee" else type,
            "source": source["id"],
            "status": "pending",
            "type": type,
        }
    )
    if when <= work.now:
        row["status"] = "available"
    else:
        work.at(when, lambda later: _settle(later, row["id"]))
    return row


def stripe_fee(amount: int, currency: str) -> Row:
    """Return what Stripe keeps of a charge: 2.9 % and 30 of the smallest unit, never more than the charge."""
    fee = min((amount * _FEE_RATE + 5_000) // 10_000 + _FEE_FIXED, amount)
    return _fee(fee, currency, "stripe_fee", "Stripe processing fees")


def application_fee(amount: int, currency: str) -> Row:
    """Return what a platform keeps of a charge."""
    return _fee(amount, currency, "application_fee", "Application fee")


@route(
    "GET",
    "/v1/balance_transactions",
    {**PAGE, "created": CREATED, "currency": Currency(), "payout": Id(), "source": Id(), "type": Text(unsettable=False)},
)
def list_all(call: Call) -> Row:
    if "payout" in call.params:
        raise unsupported("The parameter payout of GET /v1/balance_transactions", "payout")
    return page(
        call.rows("balance_transaction"),
        call.params,
        kind="balance_transaction",
        url=call.path,
        where=lambda row: (
            equal(row, call.params, "currency", "source", "type") and within(row["created"], call.params.get("created"))
        ),
    )


@route("GET", "/v1/balance_transactions/{id}")
def retrieve(call: Call) -> Row:
    return call.find("balance_transaction", call.arguments["id"])


def _fee(amount: int, currency: str, type: str, description: str) -> dict[str, Any]:
    return {"amount": amount, "application": None, "currency": currency, "description": description, "type": type}


def _settle(work: Transaction, identity: str) -> None:
    """Make pending money available, and say so."""
    row = work.find("balance_transaction", identity)
    work.change(row)["status"] = "available"
    work.emit("balance.available", balance.current(work))
