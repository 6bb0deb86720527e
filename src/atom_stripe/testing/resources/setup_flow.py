"""
What happens to a setup intent: the payment method is checked, the customer authenticates, and it is kept for later.

Source: https://docs.stripe.com/payments/paymentintents/lifecycle
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.errors import Refusal, error_object, invalid
from atom_stripe.testing._state.store import copied, shown
from atom_stripe.testing.resources import payment_methods
from atom_stripe.testing.resources.payment_methods import card_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction
    from atom_stripe.testing.resources.cards import Decline

OPEN = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})


def unexpected(intent: Row, message: str) -> Refusal:
    """What was asked for does not fit the status of the setup. The answer holds the setup as it is."""
    text = f"The setup intent {intent['id']} is {intent['status']}. {message}"
    return invalid(text, code="setup_intent_unexpected_state", setup_intent=copied(shown(intent)))


def confirm(work: Transaction, intent: Row, params: Mapping[str, Any]) -> Row:
    """Set the payment method up, or ask the customer to authenticate first."""
    if intent["status"] not in OPEN:
        raise unexpected(intent, "It can no longer be confirmed.")
    if intent["payment_method"] is None:
        raise unexpected(intent, "It has no payment method; send one with the confirmation.")
    method = work.find("payment_method", intent["payment_method"], "payment_method")
    check_owner(intent, method)
    _check_return_url(intent, params)
    work.change(intent).update(last_setup_error=None, next_action=None)
    card = card_of(method)
    if card.decline and not card.attaches:
        raise _declined(work, intent, method, card.decline)
    if card.authentication in {"until_set_up", "on_session", "always"} and not method["_set_up"]:
        url = f"https://hooks.stripe.com/3d_secure_2/hosted?source=src_{work.ids.token('src', 24)}"
        action: Row = {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": url, "type": "three_d_secure_redirect"}}
        if "return_url" in params and not params.get("use_stripe_sdk"):
            action = {"redirect_to_url": {"return_url": params["return_url"], "url": url}, "type": "redirect_to_url"}
        intent.update(status="requires_action", next_action=action)
        work.emit("setup_intent.requires_action", intent)
        return intent
    return _succeed(work, intent, method)


def complete_action(work: Transaction, identity: str, *, succeeded: bool) -> Row:
    """Be the customer, who passes or fails the authentication."""
    intent = work.get("setup_intent", identity)
    if intent is None or intent["status"] != "requires_action":
        state = f"is {intent['status']}" if intent else "does not exist"
        msg = f"the setup intent {identity} {state}; only one that is requires_action can be completed"
        raise ConfigurationError(msg)
    method = work.find("payment_method", intent["payment_method"])
    work.change(intent)["next_action"] = None
    if succeeded:
        return _succeed(work, intent, method)
    error = error_object(
        "The customer did not pass the authentication.",
        type="invalid_request_error",
        code="setup_intent_authentication_failure",
        payment_method=copied(shown(method)),
    )
    intent.update(status="requires_payment_method", payment_method=None, last_setup_error=error)
    work.emit("setup_intent.setup_failed", intent)
    return intent


def check_owner(intent: Row, method: Row) -> None:
    """Refuse somebody else's payment method, and one that has had its use."""
    if method["customer"] is not None and method["customer"] != intent["customer"]:
        raise invalid("The payment method belongs to another customer than the setup.", "payment_method")
    payment_methods.check_unspent(method)


def _succeed(work: Transaction, intent: Row, method: Row) -> Row:
    work.change(method)["_set_up"] = intent["usage"] == "off_session"
    if method["customer"] is None and intent["customer"]:
        method["customer"] = intent["customer"]
        work.emit("payment_method.attached", method)
    intent["status"] = "succeeded"
    work.emit("setup_intent.succeeded", intent)
    return intent


def _declined(work: Transaction, intent: Row, method: Row, decline: Decline) -> Refusal:
    fields: Row = {"decline_code": decline.decline_code, "payment_method": copied(shown(method))}
    error = error_object(decline.message, type="card_error", code=decline.code, **fields)
    intent.update(status="requires_payment_method", payment_method=None, last_setup_error=error)
    work.emit("setup_intent.setup_failed", intent)
    told = {**fields, "setup_intent": copied(shown(intent))}
    return Refusal(402, decline.message, type="card_error", code=decline.code, committed=True, **told)


def _check_return_url(intent: Row, params: Mapping[str, Any]) -> None:
    """Where methods may redirect, Stripe wants to know where to."""
    automatic = intent["automatic_payment_methods"]
    types = intent["allowed_payment_method_types"]
    if automatic and not types and automatic["allow_redirects"] != "never" and "return_url" not in params:
        message = (
            "A return_url is needed: this setup intent takes the payment methods of your Dashboard, and some of them redirect."
            " Without redirects, create it with automatic_payment_methods[enabled]=true and automatic_payment_methods[allow_redirects]=never."
        )
        raise invalid(message, "return_url")
