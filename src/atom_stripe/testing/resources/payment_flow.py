"""
What happens to a payment intent, from status to status.

    requires_payment_method > requires_confirmation > requires_action > (processing) > requires_capture > succeeded

and ``canceled`` from anywhere before ``succeeded``. Cards are never ``processing``. A declined card leads back to the beginning.
Source: https://docs.stripe.com/payments/paymentintents/lifecycle
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.errors import Refusal, error_object, invalid
from atom_stripe.testing._state.store import copied, shown
from atom_stripe.testing.resources import account, cards, charges, payment_methods
from atom_stripe.testing.resources.payment_methods import card_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction
    from atom_stripe.testing.resources.cards import Decline

OPEN = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
"""Before the money moved: the payment can still change."""


def unexpected(intent: Row, message: str, param: str | None = None) -> Refusal:
    """What was asked for does not fit the status of the payment. The answer holds the payment as it is."""
    text = f"The payment intent {intent['id']} is {intent['status']}. {message}"
    return invalid(text, param, code="payment_intent_unexpected_state", payment_intent=copied(shown(intent)))


def check_confirmable(intent: Row) -> None:
    """Refuse to confirm what was confirmed. A second confirmation is no second payment."""
    if intent["status"] not in OPEN:
        raise unexpected(intent, "It was confirmed before, or canceled, and cannot be confirmed again.")


def check_owner(intent: Row, method: Row) -> None:
    """Refuse somebody else's payment method, and one that has had its use."""
    if method["customer"] is not None and method["customer"] != intent["customer"]:
        message = "The payment method belongs to a customer; the payment needs the same customer."
        raise invalid(message, "payment_method", code="payment_method_customer_mismatch" if intent["customer"] else None)
    payment_methods.check_unspent(method)


def check_descriptor(intent: Row) -> None:
    """Cards show the account's own descriptor and a suffix; they take no other. Source: https://docs.stripe.com/get-started/account/statement-descriptors"""
    if intent["statement_descriptor"]:
        raise invalid("statement_descriptor is not for cards; use statement_descriptor_suffix.", "statement_descriptor")


def confirm(work: Transaction, intent: Row, params: Mapping[str, Any]) -> Row:
    """Try to take the payment, or ask the customer to authenticate it first."""
    account.check_charges(work)
    if intent["payment_method"] is None:
        raise unexpected(intent, "It has no payment method; send one with the confirmation.")
    method = work.find("payment_method", intent["payment_method"], "payment_method")
    check_owner(intent, method)
    check_descriptor(intent)
    off_session = params.get("off_session", "false") != "false"
    _check_return_url(intent, params, off_session=off_session)
    work.change(intent).update(last_payment_error=None, next_action=None, canceled_at=None)
    if intent["_authenticated"] or not _asks(intent, method, off_session=off_session):
        _finish(work, intent, method, None)
    elif off_session or params.get("error_on_requires_action"):
        # Nobody is there to ask.
        _finish(work, intent, method, cards.AUTHENTICATION_REQUIRED)
    else:
        intent.update(status="requires_action", next_action=_next_action(work, params))
        work.emit("payment_intent.requires_action", intent)
        _tell(work, intent)
    return intent


def complete_action(work: Transaction, identity: str, *, succeeded: bool) -> Row:
    """Be the customer, who passes or fails the authentication."""
    intent = work.get("payment_intent", identity)
    if intent is None or intent["status"] != "requires_action":
        state = f"is {intent['status']}" if intent else "does not exist"
        msg = f"the payment intent {identity} {state}; only one that is requires_action can be completed"
        raise ConfigurationError(msg)
    method = work.find("payment_method", intent["payment_method"])
    work.change(intent)["next_action"] = None
    if not succeeded:
        # The bank was never asked for money, so there is no charge. Source: https://docs.stripe.com/error-codes
        error = error_object(
            "The customer did not pass the authentication.",
            type="invalid_request_error",
            code="payment_intent_authentication_failure",
            payment_method=copied(shown(method)),
        )
        intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
        work.emit("payment_intent.payment_failed", intent)
        _tell(work, intent)
    elif intent["confirmation_method"] == "manual":
        # The server has the last word. Source: https://docs.stripe.com/payments/build-a-two-step-confirmation
        intent.update(status="requires_confirmation", _authenticated=True)
    else:
        intent["_authenticated"] = True
        _attempt(work, intent, method, None)
    return intent


def capture(work: Transaction, intent: Row, amount: int) -> Row:
    """Take what was authorized, or a part of it; the rest is released."""
    charge = work.change(work.find("charge", intent["latest_charge"]))
    if intent["application_fee_amount"] is not None:
        charge["application_fee_amount"] = min(intent["application_fee_amount"], amount)
    charges.take(work, charge, amount)
    work.emit("charge.captured", charge)
    _succeed(work, intent, amount)
    return intent


def cancel(work: Transaction, intent: Row, reason: str | None, *, released: str = "charge.refunded") -> Row:
    """End a payment that has not succeeded. What was authorized is released."""
    held = intent["status"] == "requires_capture"
    work.change(intent).update(
        status="canceled", canceled_at=work.now, cancellation_reason=reason, amount_capturable=0, next_action=None
    )
    if held:
        charges.release(work, work.find("charge", intent["latest_charge"]), released)
    work.emit("payment_intent.canceled", intent)
    return intent


def _finish(work: Transaction, intent: Row, method: Row, decline: Decline | None) -> None:
    """Take the payment, and tell the caller if that failed: with 402, and everything that happened stays."""
    error = _attempt(work, intent, method, decline)
    if error is not None:
        raise Refusal(402, error["message"], code=error["code"], committed=True, **_told(error, intent))


def _told(error: Row, intent: Row) -> Row:
    rest = {name: value for name, value in error.items() if name not in {"code", "doc_url", "message"}}
    return {**rest, "payment_intent": copied(shown(intent))}


def _attempt(work: Transaction, intent: Row, method: Row, decline: Decline | None) -> Row | None:
    """Charge the card. Returns the error, as the payment then has it, if it was declined."""
    decline = decline or _reason_to_decline(work, intent, method)
    by_hand = "manual" in {intent["capture_method"], intent["payment_method_options"]["card"].get("capture_method")}
    authenticated = intent["_authenticated"]
    charge = charges.attempt(work, intent, method, capture=not by_hand, decline=decline, authenticated=authenticated)
    intent.update(latest_charge=charge["id"], _authenticated=False)
    if decline:
        error = error_object(
            decline.message,
            type="card_error",
            code=decline.code,
            charge=charge["id"],
            decline_code=decline.decline_code,
            payment_method=copied(shown(method)),
        )
        # A declined method is taken away from the payment. Source: https://docs.stripe.com/payments/paymentintents/lifecycle
        intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
        work.emit("payment_intent.payment_failed", intent)
        _tell(work, intent)
        return error
    _remember(work, intent, method)
    if by_hand:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        work.at(work.now + charges.HOLD, lambda later: _expire(later, intent["id"], charge["id"]))
        work.emit("payment_intent.amount_capturable_updated", intent)
    else:
        _succeed(work, intent, intent["amount"])
    return None


def _succeed(work: Transaction, intent: Row, amount: int) -> None:
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    work.emit("payment_intent.succeeded", intent)
    _tell(work, intent)


def _tell(work: Transaction, intent: Row) -> None:
    """Let the invoice that a payment is for know what came of it."""
    if "_invoice" in intent:
        from atom_stripe.testing.resources import billing

        billing.follow(work, intent)


def _remember(work: Transaction, intent: Row, method: Row) -> None:
    """Keep the payment method for the customer if that was asked for. Otherwise, used without one, it has had its use."""
    usage = intent["setup_future_usage"]
    work.change(method)
    if usage == "off_session":
        method["_set_up"] = True
    if method["customer"] is None and usage and intent["customer"]:
        method["customer"] = intent["customer"]
        work.emit("payment_method.attached", method)
    elif method["customer"] is None and not usage:
        method["_spent"] = True


def _reason_to_decline(work: Transaction, intent: Row, method: Row) -> Decline | None:
    card, now = card_of(method), work.clock.now
    if card.decline:
        return card.decline
    if (method["card"]["exp_year"], method["card"]["exp_month"]) < (now.year, now.month):
        return cards.EXPIRED
    return card.after_authentication if intent["_authenticated"] else None


def _asks(intent: Row, method: Row, *, off_session: bool) -> bool:
    """
    Return whether the bank wants to ask the customer.

    Source: https://docs.stripe.com/testing#regulatory-cards
    """
    match card_of(method).authentication:
        case "always":
            return True
        case "on_session":
            return not off_session
        case "until_set_up":
            return not (off_session and method["_set_up"])
        case "optional":
            return (
                intent["payment_method_options"]["card"].get("request_three_d_secure") in {"any", "challenge"} and not off_session
            )
        case "none":
            return False


def _check_return_url(intent: Row, params: Mapping[str, Any], *, off_session: bool) -> None:
    """
    Where methods may redirect, Stripe wants to know where to, even if the one at hand does not redirect.

    Source: https://docs.stripe.com/changelog/2023-08-16/automatic-payment-methods
    """
    automatic = intent["automatic_payment_methods"]
    # The types that can be allowed here do not redirect.
    if not automatic or intent["allowed_payment_method_types"]:
        return
    if params.get("error_on_requires_action"):
        message = "error_on_requires_action does not go together with automatic payment methods; use allowed_payment_method_types."
        raise invalid(message, "error_on_requires_action")
    if automatic["allow_redirects"] != "never" and not off_session and "return_url" not in params:
        message = (
            "A return_url is needed: this payment intent takes the payment methods of your Dashboard, and some of them redirect."
            " Without redirects, create it with automatic_payment_methods[enabled]=true and automatic_payment_methods[allow_redirects]=never."
        )
        raise invalid(message, "return_url")


def _next_action(work: Transaction, params: Mapping[str, Any]) -> Row:
    url = f"https://hooks.stripe.com/3d_secure_2/hosted?source=src_{work.ids.token('src', 24)}"
    if "return_url" in params and not params.get("use_stripe_sdk"):
        return {"redirect_to_url": {"return_url": params["return_url"], "url": url}, "type": "redirect_to_url"}
    # What is inside is for Stripe.js alone.
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": url, "type": "three_d_secure_redirect"}}


def _expire(work: Transaction, identity: str, charge: str) -> None:
    """Let an authorization run out that nobody captured."""
    intent = work.find("payment_intent", identity)
    if intent["status"] == "requires_capture" and intent["latest_charge"] == charge:
        cancel(work, intent, "automatic", released="charge.expired")
