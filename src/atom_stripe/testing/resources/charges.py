"""
Charges: each attempt to take money, also those that failed.

The sandbox makes them for payment intents only; making one directly is the old way, and refused by name.
Source: https://docs.stripe.com/api/charges
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.pages import CREATED, PAGE, envelope, equal, page, within
from atom_stripe.testing._state.params import Choice, Hash, Id, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import application_fees, balance_transactions
from atom_stripe.testing.resources.payment_methods import card_of
from atom_stripe.testing.resources.shared import METADATA, SHIPPING, assign, shipping

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction
    from atom_stripe.testing.resources.cards import Decline, MagicCard

_SHOWN_REFUNDS = 10
# An authorization lasts seven days. Source: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
HOLD = 7 * 24 * 60 * 60


def _refunds(work: Transaction, charge: Row) -> Row:
    rows = [row for row in work.rows("refund") if row["charge"] == charge["id"]]
    return envelope(rows[:_SHOWN_REFUNDS], f"/v1/charges/{charge['id']}/refunds", has_more=len(rows) > _SHOWN_REFUNDS)


CHARGE = Kind(
    "charge",
    "ch",
    expands={"balance_transaction": "balance_transaction", "customer": "customer", "payment_intent": "payment_intent"},
    includes={"refunds": _refunds},
    refuses=frozenset(
        {
            "application",
            "application_fee",
            "failure_balance_transaction",
            "on_behalf_of",
            "outcome.rule",
            "payment_method_details.card.mandate",
            "review",
            "source_transfer",
            "transfer",
            "transfer_data.destination",
        }
    ),
)


def attempt(work: Transaction, intent: Row, method: Row, *, capture: bool, decline: Decline | None, authenticated: bool) -> Row:
    """Try to take the money of a payment intent, and return the charge: authorized, captured or failed."""
    card = card_of(method)
    charge: Row = work.add(
        {
            "id": work.new_id(CHARGE),
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0,
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": intent["application_fee_amount"],
            "balance_transaction": None,
            "billing_details": method["billing_details"],
            "calculated_statement_descriptor": _descriptor(intent["statement_descriptor_suffix"]),
            "captured": False,
            "created": work.now,
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": decline.code if decline else None,
            "failure_message": decline.message if decline else None,
            "fraud_details": {},
            "livemode": False,
            "metadata": dict(intent["metadata"]),
            "on_behalf_of": None,
            "outcome": _outcome(card, decline),
            "paid": decline is None,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": {"card": _card_details(intent, method, authenticated=authenticated), "type": "card"},
            "receipt_email": intent["receipt_email"],
            "receipt_number": None,
            "receipt_url": None,
            "refunded": False,
            "review": None,
            "shipping": intent["shipping"],
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
            "status": "failed" if decline else "succeeded",
            "transfer_data": None,
            "transfer_group": intent["transfer_group"],
            "_at_once": card.at_once,
            "_platform": intent["_platform"],
        }
    )
    if decline:
        work.emit("charge.failed", charge)
        return charge
    charge["receipt_url"] = f"https://pay.stripe.com/receipts/payment/{work.ids.token('receipt', 32)}"
    if capture:
        # With automatic_async, Stripe tells the balance a moment later: the first answers and events have no balance transaction.
        # Source: https://docs.stripe.com/payments/payment-intents/asynchronous-capture
        take(work, charge, charge["amount"], later=intent["capture_method"] == "automatic_async")
    else:
        charge["payment_method_details"]["card"]["capture_before"] = work.now + HOLD
    work.emit("charge.succeeded", charge)
    return charge


def take(work: Transaction, charge: Row, amount: int, *, later: bool = False) -> None:
    """Capture *amount* of a charge; what is left of it goes back to the customer."""
    charge.update(amount_captured=amount, captured=True, amount_refunded=charge["amount"] - amount)
    charge["payment_method_details"]["card"].pop("capture_before", None)
    if later:
        work.after(lambda afterwards: _settle_later(afterwards, charge["id"]))
    else:
        _settle(work, charge)


def release(work: Transaction, charge: Row, event: str) -> None:
    """Let go of an authorization that will not be captured, and say so with *event*."""
    work.change(charge).update(amount_refunded=charge["amount"], refunded=True)
    charge["payment_method_details"]["card"].pop("capture_before", None)
    work.emit(event, charge)


@route("GET", "/v1/charges", {**PAGE, "created": CREATED, "customer": Id(), "payment_intent": Id(), "transfer_group": Text()})
def list_all(call: Call) -> Row:
    return page(
        call.rows("charge"),
        call.params,
        kind="charge",
        url=call.path,
        where=lambda row: (
            equal(row, call.params, "customer", "payment_intent", "transfer_group")
            and within(row["created"], call.params.get("created"))
        ),
    )


@route("GET", "/v1/charges/{charge}")
def retrieve(call: Call) -> Row:
    return call.find("charge", call.arguments["charge"])


@route(
    "POST",
    "/v1/charges/{charge}",
    {
        "description": Text(),
        "fraud_details": Hash({"user_report": Choice(("fraudulent", "safe"), required=True, unsettable=True)}),
        "receipt_email": Text(longest=512),
        "shipping": SHIPPING,
        "transfer_group": Text(),
        **METADATA,
    },
)
def update(call: Call) -> Row:
    charge = call.change(call.find("charge", call.arguments["charge"]))
    assign(charge, call.params, "description", "receipt_email", "transfer_group")
    if "shipping" in call.params:
        charge["shipping"] = shipping(call.params["shipping"])
    if "fraud_details" in call.params:
        report = call.params["fraud_details"]["user_report"]
        charge["fraud_details"] = {"user_report": report} if report else {}
    if call.changed(charge):
        call.emit("charge.updated", charge)
    return charge


def _settle(work: Transaction, charge: Row) -> None:
    """Put the money of a captured charge on the balance."""
    amount, currency = charge["amount_captured"], charge["currency"]
    fees = [balance_transactions.stripe_fee(amount, currency)]
    if charge["application_fee_amount"] is not None:
        charge["application_fee"] = application_fees.collect(work, charge)
        fees.append(balance_transactions.application_fee(charge["application_fee_amount"], currency))
    transaction = balance_transactions.record(
        work,
        charge,
        amount,
        type="charge",
        description=charge["description"],
        fees=fees,
        available_on=work.now if charge["_at_once"] else None,
    )
    charge["balance_transaction"] = transaction["id"]


def _settle_later(work: Transaction, identity: str) -> None:
    charge = work.change(work.find("charge", identity))
    _settle(work, charge)
    work.emit("charge.updated", charge)


def _outcome(card: MagicCard, decline: Decline | None) -> Row:
    """Return what the network and Radar said. Source: https://docs.stripe.com/declines"""
    scores = {"normal": 20, "elevated": 65, "highest": 90}
    outcome: dict[str, Any] = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": card.risk,
        "risk_score": scores[card.risk],
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    if decline and card.blocked:
        outcome.update(
            network_status="not_sent_to_network",
            reason="highest_risk_level",
            seller_message="Radar blocked the payment.",
            type="blocked",
        )
    elif decline:
        outcome.update(
            network_status="declined_by_network",
            reason=decline.decline_code or decline.code,
            seller_message="The bank declined the payment.",
            type="issuer_declined",
        )
    elif card.risk == "elevated":
        outcome["reason"] = "elevated_risk_level"
    return outcome


def _card_details(intent: Row, method: Row, *, authenticated: bool) -> Row:
    """Return the card as it was at the time of the charge."""
    card, magic = method["card"], card_of(method)
    address = method["billing_details"]["address"]
    # A check is made of what there is to check.
    made = {
        "address_line1_check": "pass" if address["line1"] else None,
        "address_postal_code_check": "pass" if address["postal_code"] else None,
        "cvc_check": "pass",
    }
    three_d_secure = {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": None,
        "version": "2.2.0",
    }
    unavailable = {"status": "unavailable"}
    return {
        "amount_authorized": intent["amount"],
        "authorization_code": None,
        **{name: card[name] for name in ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")},
        "checks": {**made, **magic.checks},
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": unavailable,
        "installments": None,
        "mandate": None,
        "multicapture": unavailable,
        "network": card["networks"]["available"][0],
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": intent["amount"], **unavailable},
        "regulated_status": card["regulated_status"],
        "three_d_secure": three_d_secure if authenticated else None,
        "transaction_link_id": None,
        "wallet": None,
    }


def _descriptor(suffix: str | None) -> str:
    """Return what stands on the customer's statement: the account's own part, and the payment's. Source: https://docs.stripe.com/get-started/account/statement-descriptors"""
    return f"SANDBOX* {suffix}"[:22] if suffix else "SANDBOX"
