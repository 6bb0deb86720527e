"""
Refunds of application fees: what a platform gives back to the account that paid a fee, in one piece or several.

Source: https://docs.stripe.com/api/fee_refunds
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.money import Money
from atom_stripe.testing._state.errors import invalid, no_such
from atom_stripe.testing._state.pages import PAGE, envelope, page
from atom_stripe.testing._state.params import Integer
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind, shown
from atom_stripe.testing.resources import balance_transactions
from atom_stripe.testing.resources.shared import METADATA, assign

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

FEE_REFUND = Kind("fee_refund", "fr", expands={"balance_transaction": "balance_transaction", "fee": "application_fee"})

_SHOWN = 10


def give_back(work: Transaction, fee: Row, amount: int) -> Row:
    """Return *amount* of a fee to the account that paid it."""
    refund: Row = work.add(
        {
            "id": work.new_id(FEE_REFUND),
            "object": "fee_refund",
            "amount": amount,
            "balance_transaction": None,
            "created": work.now,
            "currency": fee["currency"],
            "fee": fee["id"],
            "metadata": {},
        }
    )
    # What still waits is taken from what waits.
    when = work.find("balance_transaction", fee["balance_transaction"])["available_on"]
    moved = balance_transactions.record(work, refund, -amount, type="application_fee_refund", available_on=when)
    refund["balance_transaction"] = moved["id"]
    work.change(fee)["amount_refunded"] += amount
    fee["refunded"] = fee["amount_refunded"] == fee["amount"]
    fee["refunds"] = _latest(work, fee)
    source = {"id": refund["id"], "currency": refund["currency"]}

    def receive(owner: Transaction) -> None:
        balance_transactions.record(owner, source, amount, type="application_fee_refund", available_on=when)

    work.after(receive, fee["account"])
    return refund


@route("POST", "/v1/application_fees/{id}/refunds", {"amount": Integer(), **METADATA})
def create(call: Call) -> Row:
    fee = call.find("application_fee", call.arguments["id"])
    left = fee["amount"] - fee["amount_refunded"]
    if not left:
        raise invalid(f"The application fee {fee['id']} has already been refunded.")
    amount = call.params.get("amount", left)
    if amount < 1:
        raise invalid("amount must be at least 1.", "amount", code="parameter_invalid_integer")
    if amount > left:
        asked, rest = Money.from_minor(amount, fee["currency"]), Money.from_minor(left, fee["currency"])
        raise invalid(f"The refund of {asked} is greater than what is left of the fee, {rest}.", "amount")
    refund = give_back(call, fee, amount)
    if "metadata" in call.params:
        assign(refund, call.params)
        fee["refunds"] = _latest(call, fee)
    call.emit("application_fee.refunded", fee)
    return refund


@route("GET", "/v1/application_fees/{id}/refunds", PAGE)
def list_all(call: Call) -> Row:
    fee = call.find("application_fee", call.arguments["id"])
    return page(_of(call, fee), call.params, kind="fee_refund", url=call.path)


@route("GET", "/v1/application_fees/{fee}/refunds/{id}")
def retrieve(call: Call) -> Row:
    return _named(call)


@route("POST", "/v1/application_fees/{fee}/refunds/{id}", METADATA)
def update(call: Call) -> Row:
    refund = call.change(_named(call))
    assign(refund, call.params)
    if call.changed(refund):
        fee = call.change(call.find("application_fee", refund["fee"]))
        fee["refunds"] = _latest(call, fee)
        call.emit("application_fee.refund.updated", refund)
    return refund


def _named(call: Call) -> Row:
    fee = call.find("application_fee", call.arguments["fee"])
    refund = call.find("fee_refund", call.arguments["id"])
    if refund["fee"] != fee["id"]:
        raise no_such("fee_refund", refund["id"])
    return refund


def _of(work: Transaction, fee: Row) -> list[Row]:
    return [row for row in work.rows("fee_refund") if row["fee"] == fee["id"]]


def _latest(work: Transaction, fee: Row) -> Row:
    """Return the refunds as the fee itself shows them."""
    rows = [shown(row) for row in _of(work, fee)]
    return envelope(rows[:_SHOWN], f"/v1/application_fees/{fee['id']}/refunds", has_more=len(rows) > _SHOWN)
