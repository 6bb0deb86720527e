"""
How subscriptions end, and how it is told what changed in them.

Source: https://docs.stripe.com/billing/subscriptions/cancel
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing.resources import invoice_rows
from atom_stripe.testing.resources.subscription_rows import ENDED

if TYPE_CHECKING:
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction


def cancel(work: Transaction, subscription: Row, reason: str, details: Row | None = None) -> Row:
    """End a subscription now. What is unpaid stays so, and is no longer collected by itself."""
    work.change(subscription)
    subscription["cancellation_details"].update({**(details or {}), "reason": reason})
    subscription.update(canceled_at=subscription["canceled_at"] or work.now, ended_at=work.now)
    for invoice in list(work.rows("invoice")):
        if invoice["_subscription"] != subscription["id"] or invoice["status"] not in invoice_rows.AWAITING:
            continue
        if subscription["status"] == "incomplete":
            invoice_rows.abandon(work, invoice, "void", "invoice.voided", "voided_at")
        elif invoice["auto_advance"]:
            work.change(invoice).update(auto_advance=False, automatically_finalizes_at=None, next_payment_attempt=None)
            work.emit("invoice.updated", invoice)
    if subscription["status"] == "incomplete":
        subscription["status"] = "incomplete_expired"
        work.emit("customer.subscription.updated", subscription)
    else:
        subscription["status"] = "canceled"
        work.emit("customer.subscription.deleted", subscription)
    return subscription


def cancel_all(work: Transaction, customer: str) -> None:
    """End the subscriptions of a customer who is deleted. Source: https://docs.stripe.com/api/customers/delete"""
    for subscription in list(work.rows("subscription")):
        if subscription["customer"] == customer and subscription["status"] not in ENDED:
            cancel(work, subscription, "cancellation_requested")


def tell(work: Transaction, subscription: Row) -> None:
    """Say what changed in a subscription, if anything did and it is known at all."""
    if subscription["_announced"] and work.changed(subscription):
        work.emit("customer.subscription.updated", subscription)
