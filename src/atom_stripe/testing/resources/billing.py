"""
Billing: what happens to subscriptions and their invoices, by request and by the clock.

    incomplete > active > past_due > canceled, or trialing > active, or incomplete > incomplete_expired

A first invoice is final at once. Those of later periods are drafts for an hour, and a payment that fails is tried again three times.
Source: https://docs.stripe.com/billing/subscriptions/overview
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing.resources import invoice_drafts, invoice_rows, payment_flow
from atom_stripe.testing.resources.subscription_ends import cancel, tell
from atom_stripe.testing.resources.subscription_rows import DAY, ENDED, next_end, period, set_period

if TYPE_CHECKING:
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

HOUR = 60 * 60
# Source: https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
_PATIENCE = 23 * HOUR
# Stripe chooses its moments itself or by a schedule in the Dashboard; this is such a schedule, and at its end the subscription is canceled.
# Source: https://docs.stripe.com/billing/revenue-recovery/smart-retries
_RETRIES = (3 * DAY, 5 * DAY, 7 * DAY)
_NOTICE = 3 * DAY


def start(work: Transaction, subscription: Row, *, trial_end: int | None, behavior: str, off_session: bool) -> None:
    """Begin a subscription, with its first invoice."""
    first = len(work.happenings)
    if trial_end is not None:
        subscription.update(billing_cycle_anchor=trial_end, status="trialing", trial_end=trial_end, trial_start=work.now)
        # The trial is a period of its own, before those that are counted.
        subscription["_cycle"] = -1
    set_period(subscription, work.now, next_end(subscription))
    invoice = _bill(work, subscription, "subscription_create", (work.now, work.now))
    if subscription["collection_method"] == "send_invoice":
        if trial_end is None:
            subscription["status"] = "active"
        (_later if invoice["total"] else _advance)(work, invoice)
    else:
        invoice_rows.finalize(work, invoice)
        if invoice["amount_due"] == 0:
            invoice_rows.settle(work, invoice)
            _activate(work, subscription)
        elif behavior == "default_incomplete":
            _prepare(work, invoice, subscription)
        elif refusal := attempt(work, invoice, off_session=off_session):
            if not refusal.committed:
                raise refusal
            if behavior == "error_if_incomplete":
                # Nothing of it happened.
                raise Refusal(402, str(refusal), **_fields(refusal))
    _announce(work, subscription, first)
    if subscription["status"] == "incomplete":
        work.at(work.now + _PATIENCE, lambda later: _expire(later, subscription["id"]))
    _plan(work, subscription)


def attempt(
    work: Transaction, invoice: Row, *, off_session: bool, method: str | None = None, automatic: bool = False
) -> Refusal | None:
    """
    Try to collect an invoice, and return why that failed. If nothing happened then, the caller has to raise it.

    *automatic*: by the clock, and not because somebody asked.
    """
    intent = work.find("payment_intent", invoice["_intent"])
    subscription = _subscription_of(work, invoice)
    customer = work.find("customer", invoice["customer"])
    chosen = method or invoice_rows.pick_method(work, invoice, subscription, customer)
    refusal = None
    work.change(invoice)["_automatic"] = automatic
    try:
        _charge(work, intent, chosen, off_session=off_session)
    except Refusal as error:
        refusal = error
        if automatic and not error.committed:
            # There is no card, or the account may not take money. Nobody was asked for any, and nobody is there to be told.
            work.change(intent).update(payment_method=None, status="requires_payment_method")
            _failed(work, invoice, subscription)
    invoice["_automatic"] = False
    return refusal


def _charge(work: Transaction, intent: Row, method: str | None, *, off_session: bool) -> None:
    if method is None:
        message = "The customer has no default payment method; set one, or send default_payment_method."
        raise Refusal(400, message, code="resource_missing")
    work.change(intent).update(payment_method=method, status="requires_confirmation")
    payment_flow.confirm(work, intent, {"off_session": "true" if off_session else "false"})


def follow(work: Transaction, intent: Row) -> None:
    """Let an invoice and its subscription know how a payment goes, whoever confirmed it."""
    invoice = work.find("invoice", intent["_invoice"])
    subscription = _subscription_of(work, invoice)
    if intent["status"] == "succeeded":
        _count(work, invoice)
        invoice_rows.settle(work, invoice)
        if work.change(subscription)["payment_settings"]["save_default_payment_method"] == "on_subscription":
            subscription["default_payment_method"] = intent["payment_method"] or subscription["default_payment_method"]
        _activate(work, subscription)
    elif intent["status"] == "requires_action":
        _count(work, invoice)
        work.emit("invoice.payment_action_required", invoice)
    else:
        error = intent["last_payment_error"] or {}
        if error.get("code") == "authentication_required":
            work.emit("invoice.payment_action_required", invoice)
        _failed(work, invoice, subscription)


def _bill(work: Transaction, subscription: Row, reason: str, covered: tuple[int, int]) -> Row:
    free = subscription["status"] == "trialing"
    lines = [invoice_drafts.line_for(work, item, period(subscription), free=free) for item in subscription["items"]["data"]]
    invoice = invoice_drafts.draft(work, subscription, lines, reason, covered)
    invoice["_subscription"] = subscription["id"]
    subscription["latest_invoice"] = invoice["id"]
    work.emit("invoice.created", invoice)
    return invoice


def _prepare(work: Transaction, invoice: Row, subscription: Row) -> None:
    """Leave the first payment to the customer, with the payment method that would be charged."""
    chosen = invoice_rows.pick_method(work, invoice, subscription, work.find("customer", invoice["customer"]))
    if chosen:
        work.find("payment_intent", invoice["_intent"]).update(payment_method=chosen, status="requires_confirmation")


def _announce(work: Transaction, subscription: Row, first: int) -> None:
    """Say that there is a subscription. It is told as it is now, ahead of what its first invoice brought about."""
    subscription["_announced"] = True
    work.emit("customer.subscription.created", subscription)
    work.happenings.insert(first, work.happenings.pop())


def _plan(work: Transaction, subscription: Row) -> None:
    """Let the current period end in time."""
    identity, cycle, (_, end) = subscription["id"], subscription["_cycle"], period(subscription)
    if subscription["status"] == "trialing" and subscription["trial_end"] - _NOTICE > work.now:
        work.at(subscription["trial_end"] - _NOTICE, lambda later: _warn(later, identity))
    elif subscription["status"] == "trialing":
        work.after(lambda later: _warn(later, identity))
    work.at(end, lambda later: _renew(later, identity, cycle))


def _warn(work: Transaction, identity: str) -> None:
    subscription = work.find("subscription", identity)
    if subscription["status"] == "trialing":
        work.emit("customer.subscription.trial_will_end", subscription)


def _renew(work: Transaction, identity: str, cycle: int) -> None:
    """End a period of a subscription, and begin the next."""
    subscription = work.find("subscription", identity)
    if subscription["status"] in {*ENDED, "incomplete"} or subscription["_cycle"] != cycle:
        return
    ended = period(work.change(subscription))
    if subscription["cancel_at_period_end"]:
        cancel(work, subscription, subscription["cancellation_details"]["reason"] or "cancellation_requested")
        return
    if subscription["status"] == "trialing":
        customer = work.find("customer", subscription["customer"])
        behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        if behavior == "cancel" and not invoice_rows.pick_method(work, subscription, customer):
            cancel(work, subscription, "payment_failed")
            return
        subscription["status"] = "active"
    subscription["_cycle"] += 1
    set_period(subscription, ended[1], next_end(subscription))
    invoice = _bill(work, subscription, "subscription_cycle", ended)
    _later(work, invoice)
    tell(work, subscription)
    _plan(work, subscription)


def _later(work: Transaction, invoice: Row) -> None:
    """Leave a draft as it is for an hour, in which it can be changed."""
    moment = work.now + HOUR
    due = moment if invoice["amount_due"] and invoice["collection_method"] == "charge_automatically" else None
    work.change(invoice).update(automatically_finalizes_at=moment, next_payment_attempt=due)
    work.at(moment, lambda later: _advance(later, later.find("invoice", invoice["id"])))


def _advance(work: Transaction, invoice: Row) -> None:
    """Make a draft final, and collect it."""
    if invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    finalize(work, invoice)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        attempt(work, invoice, off_session=True, automatic=True)


def finalize(work: Transaction, invoice: Row) -> Row:
    """Make an invoice final: it is sent if it is to be sent, and paid if there is nothing to pay."""
    invoice_rows.finalize(work, invoice)
    if invoice["amount_due"] == 0:
        invoice_rows.settle(work, invoice)
    elif invoice["collection_method"] == "send_invoice":
        work.emit("invoice.sent", invoice)
        work.at(invoice["due_date"], lambda later: _overdue(later, invoice["id"]))
    return invoice


def _overdue(work: Transaction, identity: str) -> None:
    invoice = work.find("invoice", identity)
    subscription = _subscription_of(work, invoice)
    if invoice["status"] == "open":
        work.emit("invoice.overdue", invoice)
        invoice_rows.blame(work, invoice["customer"], delinquent=True)
        _set_status(work, subscription, "past_due", {"active"})


def _expire(work: Transaction, identity: str) -> None:
    """Give up on a first payment."""
    subscription = work.find("subscription", identity)
    if subscription["status"] == "incomplete":
        cancel(work, subscription, "payment_failed")


def _activate(work: Transaction, subscription: Row) -> None:
    latest = work.get("invoice", subscription["latest_invoice"])
    # An old invoice that is paid leaves a newer one unpaid.
    if latest is not None and latest["status"] == "paid":
        _set_status(work, subscription, "active", {"incomplete", "past_due", "unpaid"})
    else:
        tell(work, subscription)


def _set_status(work: Transaction, subscription: Row, status: str, before: set[str]) -> None:
    work.change(subscription)
    if subscription["status"] in before:
        subscription["status"] = status
    tell(work, subscription)


def _count(work: Transaction, invoice: Row) -> None:
    """Count an attempt: the first one of all, and then those by the clock. Source: https://docs.stripe.com/api/invoices/object"""
    work.change(invoice)["attempted"] = True
    if invoice["attempt_count"] == 0 or invoice.get("_automatic"):
        invoice["attempt_count"] += 1


def _failed(work: Transaction, invoice: Row, subscription: Row) -> None:
    """Note that an invoice could not be collected, and when it will be tried again."""
    _count(work, invoice)
    if invoice["billing_reason"] == "subscription_create" and subscription["status"] == "incomplete":
        work.emit("invoice.payment_failed", invoice)
        return
    if invoice.get("_automatic"):
        _try_again(work, invoice)
    work.emit("invoice.payment_failed", invoice)
    invoice_rows.blame(work, invoice["customer"], delinquent=True)
    if invoice.get("_automatic") and invoice["next_payment_attempt"] is None and subscription["status"] == "past_due":
        cancel(work, subscription, "payment_failed")
    else:
        _set_status(work, subscription, "past_due", {"active"})


def _try_again(work: Transaction, invoice: Row) -> None:
    tried = invoice["attempt_count"]
    if tried > len(_RETRIES):
        invoice["next_payment_attempt"] = None
        return
    moment = invoice["next_payment_attempt"] = work.now + _RETRIES[tried - 1]
    work.at(moment, lambda later: retry(later, invoice["id"], moment))


def retry(work: Transaction, identity: str, moment: int) -> None:
    """Collect an open invoice at the moment that was set for it."""
    invoice = work.find("invoice", identity)
    if invoice["status"] == "open" and invoice["next_payment_attempt"] == moment:
        attempt(work, invoice, off_session=True, automatic=True)


def _subscription_of(work: Transaction, invoice: Row) -> Row:
    return work.find("subscription", invoice["_subscription"])


def _fields(refusal: Refusal) -> dict[str, Any]:
    return {name: value for name, value in refusal.error.items() if name not in {"doc_url", "message"}}
