"""
Refunds: money that goes back to the customer, in one piece or several.

Source: https://docs.stripe.com/api/refunds
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.money import Money
from atom_stripe.testing._state.errors import exclusive, invalid, missing, no_such
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Choice, Id, Integer
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import balance_transactions
from atom_stripe.testing.resources.shared import METADATA, assign

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

REFUND = Kind(
    "refund",
    "re",
    expands={"balance_transaction": "balance_transaction", "charge": "charge", "payment_intent": "payment_intent"},
    refuses=frozenset(
        {"customer", "failure_balance_transaction", "payment_method", "source_transfer_reversal", "transfer_reversal"}
    ),
)


def give_back(work: Transaction, charge: Row, amount: int, *, reason: str | None = None) -> Row:
    """Refund *amount* of a captured charge."""
    refund: Row = work.add(
        {
            "id": work.new_id(REFUND),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": work.now,
            "currency": charge["currency"],
            "customer": None,
            "customer_account": None,
            "destination_details": {
                "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
                "type": "card",
            },
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method": None,
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
    )
    paid_in = work.get("balance_transaction", charge["balance_transaction"])
    # It is taken from where the payment's own money is: from what is pending while that is pending.
    available_on = max(work.now, paid_in["available_on"]) if paid_in else work.now
    description = f"REFUND FOR PAYMENT ({charge['description']})" if charge["description"] else "REFUND FOR PAYMENT"
    moved = balance_transactions.record(work, refund, -amount, type="refund", description=description, available_on=available_on)
    refund["balance_transaction"] = moved["id"]
    work.change(charge)["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    return refund


@route(
    "POST",
    "/v1/refunds",
    {
        "amount": Integer(),
        "charge": Id(),
        "payment_intent": Id(),
        "reason": Choice(("duplicate", "fraudulent", "requested_by_customer")),
        **METADATA,
    },
)
def create(call: Call) -> Row:
    charge = _charge_of(call)
    left = charge["amount"] - charge["amount_refunded"]
    if charge["refunded"] or not left:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = call.params.get("amount", left)
    if amount < 1:
        raise invalid("amount must be at least 1.", "amount", code="parameter_invalid_integer")
    if amount > left:
        # Stripe gives this one no code.
        currency = charge["currency"]
        asked, rest = Money.from_minor(amount, currency), Money.from_minor(left, currency)
        message = f"The refund of {asked} is greater than what is left of the charge, {rest}."
        raise invalid(message, "amount")
    refund = give_back(call, charge, amount, reason=call.params.get("reason"))
    assign(refund, call.params)
    call.emit("charge.refunded", charge)
    call.emit("refund.created", refund)
    return refund


@route("GET", "/v1/refunds", {**PAGE, "charge": Id(), "created": CREATED, "payment_intent": Id()})
def list_all(call: Call) -> Row:
    return page(
        call.rows("refund"),
        call.params,
        kind="refund",
        url=call.path,
        where=lambda row: (
            equal(row, call.params, "charge", "payment_intent") and within(row["created"], call.params.get("created"))
        ),
    )


@route("GET", "/v1/refunds/{refund}")
def retrieve(call: Call) -> Row:
    return call.find("refund", call.arguments["refund"])


@route("POST", "/v1/refunds/{refund}", METADATA)
def update(call: Call) -> Row:
    refund = call.change(call.find("refund", call.arguments["refund"]))
    assign(refund, call.params)
    if call.changed(refund):
        # The first is the older name of the second; Stripe sends both. Source: https://docs.stripe.com/api/events/types
        call.emit("charge.refund.updated", refund)
        call.emit("refund.updated", refund)
    return refund


def _charge_of(call: Call) -> Row:
    """Return the charge that a refund is for: named itself, or the one of a payment intent that succeeded."""
    params = call.params
    if "payment_intent" in params and "charge" in params:
        raise exclusive("charge", "payment_intent")
    if "payment_intent" in params:
        intent = call.find("payment_intent", params["payment_intent"], "payment_intent")
        charge = call.get("charge", intent["latest_charge"] or "")
        if charge is None or not charge["captured"]:
            message = f"The payment intent {intent['id']} has no successful charge to refund; it is {intent['status']}."
            raise invalid(message, "payment_intent", code="payment_intent_unexpected_state")
        return charge
    if "charge" not in params:
        raise missing("payment_intent")
    charge = call.get("charge", params["charge"])
    if charge is None:
        raise no_such("charge", params["charge"], "charge")
    if not charge["captured"]:
        reason = "it failed" if charge["status"] == "failed" else "it is not captured; cancel its payment intent"
        raise invalid(f"Charge {charge['id']} cannot be refunded: {reason}.", "charge", code="charge_not_refundable")
    return charge
