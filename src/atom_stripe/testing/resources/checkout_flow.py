"""
What happens to a checkout session: the customer pays, subscribes or leaves a card, or nobody comes in time.

Source: https://docs.stripe.com/payments/checkout/how-checkout-works
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing.resources import (
    billing,
    checkout_rows,
    customers,
    invoice_rows,
    payment_flow,
    payment_intents,
    payment_methods,
    setup_flow,
    setup_intents,
    subscription_ends,
    subscriptions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

_WITHOUT_REDIRECTS = {"automatic_payment_methods": {"enabled": False}}


def submit(work: Transaction, session: Row, form: Mapping[str, str]) -> str | None:
    """
    Be the customer who fills in the page. Returns why that failed, if the session goes on; ``_asks`` says whether the bank has a question.

    Raises:
        Refusal: It failed, and nothing of it happened.
    """
    work.change(session)
    card = {"number": form.get("card", ""), "exp_month": 8, "exp_year": work.clock.now.year + 1, "cvc": "123"}
    email = form.get("email") or None
    details = {name: value for name, value in (("email", email), ("name", form.get("name") or None)) if value}
    method = payment_methods.create_from(work, {"card": card, "billing_details": details})
    _meet(work, session, details)
    run = {"payment": _pay, "setup": _set_up, "subscription": _subscribe}[session["mode"]]
    try:
        run(work, session, method)
    except Refusal as refusal:
        if not refusal.committed:
            raise
        return str(refusal)
    return _check(work, session)


def authenticate(work: Transaction, session: Row, *, succeeded: bool) -> str | None:
    """Be the customer who answers the bank. Returns why the session goes on, if it does."""
    work.change(session)
    if session["mode"] == "subscription" and _begun(work, session) is None:
        session["_asks"] = None
        return "The payment took too long. Try again."
    if session["mode"] == "setup":
        setup_flow.complete_action(work, session["_asks"], succeeded=succeeded)
    else:
        payment_flow.complete_action(work, session["_asks"], succeeded=succeeded)
    return _check(work, session)


def expire(work: Transaction, session: Row) -> Row:
    """End a session that nobody completed."""
    work.change(session).update(status="expired", url=None)
    intent = work.get("payment_intent", session["payment_intent"] or "")
    if intent and intent["status"] in payment_flow.OPEN:
        payment_flow.cancel(work, work.change(intent), "abandoned")
    if subscription := _begun(work, session):
        subscription_ends.cancel(work, subscription, "payment_failed")
    work.emit("checkout.session.expired", session)
    return session


def _meet(work: Transaction, session: Row, details: Mapping[str, Any]) -> None:
    """Note who the customer is, and make a customer of them where one is needed."""
    known = session["customer"]
    keeps = session["_data"]["payment_intent_data"].get("setup_future_usage")
    if known is None and (session["customer_creation"] == "always" or keeps):
        known = session["customer"] = customers.new_customer(work, dict(details))["id"]
    checkout_rows.describe_customer(session, work.find("customer", known) if known else details)


def _pay(work: Transaction, session: Row, method: Row) -> None:
    intent = work.get("payment_intent", session["payment_intent"] or "")
    if intent is None:
        data = session["_data"]["payment_intent_data"]
        params = {**data, **_WITHOUT_REDIRECTS, "amount": session["amount_total"], "currency": session["currency"]}
        intent = payment_intents.new_intent(work, {**params, **({"customer": session["customer"]} if session["customer"] else {})})
        session["payment_intent"] = intent["id"]
    work.change(intent).update(payment_method=method["id"], status="requires_confirmation")
    payment_flow.confirm(work, intent, {"return_url": session["success_url"]})


def _set_up(work: Transaction, session: Row, method: Row) -> None:
    intent = work.get("setup_intent", session["setup_intent"] or "")
    if intent is None:
        params = {**session["_data"]["setup_intent_data"], **_WITHOUT_REDIRECTS}
        intent = setup_intents.new_setup(work, {**params, **({"customer": session["customer"]} if session["customer"] else {})})
        session["setup_intent"] = intent["id"]
    work.change(intent).update(payment_method=method["id"], status="requires_confirmation")
    setup_flow.confirm(work, intent, {"return_url": session["success_url"]})


def _subscribe(work: Transaction, session: Row, method: Row) -> None:
    """Begin the subscription. If the card is declined there is none; if the bank asks it is incomplete until the answer."""
    payment_methods.attach_to(work, method, session["customer"])
    subscription = _begun(work, session)
    if subscription is None:
        items = [{"price": work.find("price", item["price"]["id"]), "quantity": item["quantity"]} for item in session["_items"]]
        params = {**session["_data"]["subscription_data"], "customer": session["customer"], "items": items}
        params["default_payment_method"] = method["id"]
        origin = session["_origin"]
        subscription = subscriptions.begin(work, params, origin, off_session=False, behavior="allow_incomplete")
    else:
        work.change(subscription)["default_payment_method"] = method["id"]
        refusal = billing.attempt(work, work.find("invoice", subscription["latest_invoice"]), off_session=False)
        if refusal and not refusal.committed:
            raise refusal
    intent = invoice_rows.intent_of(work, work.find("invoice", subscription["latest_invoice"]))
    if subscription["status"] == "incomplete" and intent and intent["status"] != "requires_action":
        raise Refusal(402, (intent["last_payment_error"] or {}).get("message", "The payment failed."))
    session["_subscription"] = subscription["id"]


def _begun(work: Transaction, session: Row) -> Row | None:
    """Return the subscription that waits for the bank's question to be answered. It does not wait for ever."""
    subscription = work.get("subscription", session["_subscription"] or "")
    return subscription if subscription and subscription["status"] == "incomplete" else None


def _check(work: Transaction, session: Row) -> str | None:
    """Complete the session if everything that it waits for is there."""
    session["_asks"] = None
    if session["mode"] == "subscription":
        subscription = work.find("subscription", session["_subscription"])
        if subscription["status"] in {"active", "trialing"}:
            session.update(subscription=subscription["id"], invoice=subscription["latest_invoice"])
            _complete(work, session, "paid")
            return None
        intent = invoice_rows.intent_of(work, work.find("invoice", subscription["latest_invoice"]))
    elif session["mode"] == "setup":
        intent = work.find("setup_intent", session["setup_intent"])
    else:
        intent = work.find("payment_intent", session["payment_intent"])
    if intent and intent["status"] == "requires_action":
        session["_asks"] = intent["id"]
        return None
    if intent and intent["status"] in {"succeeded", "requires_capture"}:
        status = {"setup": "no_payment_required"}.get(session["mode"], "paid" if intent["status"] == "succeeded" else "unpaid")
        _complete(work, session, status)
        return None
    return "The authentication failed."


def _complete(work: Transaction, session: Row, payment_status: str) -> None:
    session.update(payment_status=payment_status, status="complete", url=None)
    work.emit("checkout.session.completed", session)
