"""
Invoices as they are kept, and how they go from status to status: draft > open > paid, void or uncollectible.

Source: https://docs.stripe.com/invoicing/overview#workflow
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.pages import envelope
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import invoice_drafts, payment_flow, payment_intents
from atom_stripe.testing.resources.invoice_drafts import apply_balance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction


def payments_of(work: Transaction, invoice: Row) -> Row:
    """Return the list of an invoice's payments."""
    rows = [row for row in work.rows("invoice_payment") if row["invoice"] == invoice["id"]]
    return envelope(rows, f"/v1/invoice_payments?invoice={invoice['id']}")


def _secret(work: Transaction, invoice: Row) -> Row | None:
    intent = intent_of(work, invoice)
    return intent and {"client_secret": intent["client_secret"], "type": "payment_intent"}


INVOICE = Kind(
    "invoice",
    "in",
    expands={
        "customer": "customer",
        "default_payment_method": "payment_method",
        "parent.subscription_details.subscription": "subscription",
    },
    includes={"confirmation_secret": _secret, "payments": payments_of},
    refuses=frozenset(
        {
            "account_tax_ids",
            "application",
            "automatic_tax.liability.account",
            "default_source",
            "discounts",
            "from_invoice.invoice",
            "issuer.account",
            "latest_revision",
            "on_behalf_of",
            "shipping_cost.shipping_rate",
            "test_clock",
        }
    ),
)
LINE = invoice_drafts.LINE
INVOICE_PAYMENT = Kind(
    "invoice_payment",
    "inpay",
    expands={"invoice": "invoice", "payment.payment_intent": "payment_intent"},
    refuses=frozenset({"payment.charge", "payment.payment_record"}),
)

AWAITING = frozenset({"draft", "open"})


def intent_of(work: Transaction, invoice: Row) -> Row | None:
    """Return the payment intent of an invoice, if there is anything to pay."""
    return work.get("payment_intent", invoice["_intent"]) if invoice["_intent"] else None


def finalize(work: Transaction, invoice: Row) -> Row:
    """Make a draft final: with a number, pages to see it on, and a payment intent if there is anything to pay."""
    customer = work.change(work.find("customer", invoice["customer"]))
    apply_balance(work, work.change(invoice), customer, keep=True)
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer["next_invoice_sequence"] += 1
    customer["currency"] = customer["currency"] or invoice["currency"]
    days = invoice["_days_until_due"]
    pages = f"{invoice['_origin']}/i/{invoice['_token']}"
    invoice.update(
        automatically_finalizes_at=None,
        due_date=work.now + days * 24 * 60 * 60 if days is not None else None,
        effective_at=work.now,
        hosted_invoice_url=pages,
        invoice_pdf=f"{pages}/pdf",
        number=number,
        status="open",
    )
    invoice["status_transitions"]["finalized_at"] = work.now
    if invoice["amount_due"] > 0:
        _ask(work, invoice)
    work.emit("invoice.finalized", invoice)
    return invoice


def settle(work: Transaction, invoice: Row) -> None:
    """Note that an invoice is paid."""
    work.change(invoice).update(
        amount_paid=invoice["amount_due"], amount_remaining=0, attempted=True, next_payment_attempt=None, status="paid"
    )
    invoice["status_transitions"]["paid_at"] = work.now
    for payment in payments_of(work, invoice)["data"]:
        work.change(payment).update(amount_paid=invoice["amount_due"], status="paid")
        payment["status_transitions"]["paid_at"] = work.now
        work.emit("invoice_payment.paid", payment)
    work.emit("invoice.paid", invoice)
    work.emit("invoice.payment_succeeded", invoice)
    blame(work, invoice["customer"], delinquent=False)


def abandon(work: Transaction, invoice: Row, status: str, event: str, moment: str) -> Row:
    """End an invoice without its money: ``void`` or ``uncollectible``."""
    work.change(invoice).update(auto_advance=False, next_payment_attempt=None, status=status)
    invoice["status_transitions"][moment] = work.now
    if status == "void":
        invoice.update(amount_remaining=0)
        intent = intent_of(work, invoice)
        if intent and intent["status"] in payment_flow.OPEN:
            payment_flow.cancel(work, work.change(intent), "void_invoice")
        for payment in payments_of(work, invoice)["data"]:
            work.change(payment).update(status="canceled")
            payment["status_transitions"]["canceled_at"] = work.now
    work.emit(event, invoice)
    return invoice


def blame(work: Transaction, customer_id: str, *, delinquent: bool) -> None:
    """Note whether a customer failed to pay. Source: https://docs.stripe.com/api/customers/object#customer_object-delinquent"""
    customer = work.get("customer", customer_id)
    if customer and customer["delinquent"] != delinquent:
        work.change(customer)["delinquent"] = delinquent
        work.emit("customer.updated", customer)


def pick_method(work: Transaction, *rows: Mapping[str, Any]) -> str | None:
    """Return the first payment method that is set, and that a customer still has: of the invoice, the subscription, the customer."""
    for row in rows:
        settings = row.get("invoice_settings") if row["object"] == "customer" else row
        found = (settings or {}).get("default_payment_method")
        if found and work.find("payment_method", found)["customer"]:
            return str(found)
    return None


def _ask(work: Transaction, invoice: Row) -> None:
    """Make the payment intent of an invoice, which the customer can also confirm."""
    params = {
        "amount": invoice["amount_due"],
        "automatic_payment_methods": {"enabled": False},
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription creation" if invoice["billing_reason"] == "subscription_create" else "Subscription update",
        "setup_future_usage": "off_session",
    }
    intent = payment_intents.new_intent(work, params)
    intent["_invoice"] = invoice["id"]
    invoice["_intent"] = intent["id"]
    work.add(
        {
            "id": work.new_id(INVOICE_PAYMENT),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": work.now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )
