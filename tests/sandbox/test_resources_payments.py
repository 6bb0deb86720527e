"""What the sandbox's payments do: states, declines, refunds, and the events they leave."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from atom_stripe._wire.messages import Request
from atom_stripe.testing import StripeSandbox

CARD = {
    "amount": 1000,
    "currency": "usd",
    "confirm": "true",
    "payment_method": "pm_card_visa",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


def call(sandbox: StripeSandbox, method: str, path: str, params: dict[str, Any] | None = None, key: str = "") -> tuple[int, Any]:
    headers = {"Authorization": "Bearer sk_test_x", **({"Idempotency-Key": key} if key else {})}
    form = urlencode(params or {})
    url = f"https://api.stripe.com{path}"
    request = Request(method, url, headers, form.encode()) if method == "POST" else Request(method, f"{url}?{form}", headers)
    reply = sandbox.handle(request)
    return reply.status, json.loads(reply.body)


def pay(sandbox: StripeSandbox, **params: Any) -> tuple[int, Any]:
    return call(sandbox, "POST", "/v1/payment_intents", {**CARD, **params})


def events(sandbox: StripeSandbox) -> list[str]:
    return [event["type"] for event in reversed(call(sandbox, "GET", "/v1/events", {"limit": 100})[1]["data"])]


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
    ],
)
def test_a_decline_is_answered_and_kept(card: str, code: str, decline_code: str | None) -> None:
    """A declined card is a 402 with its codes, and the payment and its failed charge stay."""
    sandbox = StripeSandbox()
    status, body = pay(sandbox, payment_method=card)
    error = body["error"]
    assert (status, error["type"], error["code"], error.get("decline_code")) == (402, "card_error", code, decline_code)
    kept = call(sandbox, "GET", f"/v1/payment_intents/{error['payment_intent']['id']}", {"expand[0]": "latest_charge"})[1]
    assert (kept["status"], kept["latest_charge"]["id"]) == ("requires_payment_method", error["charge"])
    assert kept["latest_charge"]["status"] == "failed"
    assert events(sandbox) == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 10}, "amount_too_small", "amount"),
        ({"amount": "x"}, "parameter_invalid_integer", "amount"),
        ({"payment_method_types[]": "card"}, "payment_method_types_no_longer_supported", "payment_method_types"),
        ({"automatic_payment_methods[allow_redirects]": "always"}, None, "return_url"),
        ({"made_up": 1}, "parameter_unknown", "made_up"),
    ],
)
def test_a_wrong_payment_is_refused_as_stripe_does(params: dict[str, Any], code: str | None, param: str) -> None:
    """What Stripe would refuse is a 400 with Stripe's code and parameter, and leaves no payment."""
    sandbox = StripeSandbox()
    status, body = pay(sandbox, **params)
    assert (status, body["error"].get("code"), body["error"]["param"]) == (400, code, param)
    assert call(sandbox, "GET", "/v1/payment_intents")[1]["data"] == []


@pytest.mark.parametrize(("outcome", "after"), [("succeeded", "succeeded"), ("failed", "requires_payment_method")])
def test_authentication_decides(outcome: Any, after: str) -> None:
    """A payment that asks for authentication waits for it, and goes as it goes."""
    sandbox = StripeSandbox()
    body = pay(sandbox, payment_method="pm_card_authenticationRequired")[1]
    assert body["status"] == "requires_action"
    assert body["next_action"]["type"] == "use_stripe_sdk"
    assert sandbox.complete_action(body["id"], outcome)["status"] == after


def test_a_part_is_captured() -> None:
    """Capturing a part ends the authorization of the rest, and the payment cannot be canceled after it."""
    sandbox = StripeSandbox()
    held = pay(sandbox, capture_method="manual")[1]
    assert (held["status"], held["amount_capturable"], held["amount_received"]) == ("requires_capture", 1000, 0)
    captured = call(sandbox, "POST", f"/v1/payment_intents/{held['id']}/capture", {"amount_to_capture": 400})[1]
    assert (captured["status"], captured["amount_capturable"], captured["amount_received"]) == ("succeeded", 0, 400)
    status, body = call(sandbox, "POST", f"/v1/payment_intents/{held['id']}/cancel")
    assert (status, body["error"]["code"]) == (400, "payment_intent_unexpected_state")


def test_no_more_is_refunded_than_was_paid() -> None:
    """Parts are refunded until nothing is left; more is refused and changes nothing."""
    sandbox = StripeSandbox()
    payment = pay(sandbox)[1]["id"]
    assert call(sandbox, "POST", "/v1/refunds", {"payment_intent": payment, "amount": 300})[1]["amount"] == 300
    status, body = call(sandbox, "POST", "/v1/refunds", {"payment_intent": payment, "amount": 701})
    assert (status, body["error"]["param"]) == (400, "amount")
    assert call(sandbox, "POST", "/v1/refunds", {"payment_intent": payment})[1]["amount"] == 700
    status, body = call(sandbox, "POST", "/v1/refunds", {"payment_intent": payment})
    assert (status, body["error"]["code"]) == (400, "charge_already_refunded")


def test_a_key_pays_once() -> None:
    """The same key and parameters bring the same payment; other parameters under it are refused."""
    sandbox = StripeSandbox()
    first = call(sandbox, "POST", "/v1/payment_intents", CARD, key="order-1")
    assert call(sandbox, "POST", "/v1/payment_intents", CARD, key="order-1") == first
    status, body = call(sandbox, "POST", "/v1/payment_intents", {**CARD, "amount": 2000}, key="order-1")
    assert (status, body["error"]["type"]) == (400, "idempotency_error")
    assert len(call(sandbox, "GET", "/v1/charges")[1]["data"]) == 1


def test_the_account_is_the_keys_own() -> None:
    """The account that is asked for without an id is the sandbox's own."""
    sandbox = StripeSandbox()
    status, body = call(sandbox, "GET", "/v1/account")
    assert (status, body["id"], body["charges_enabled"]) == (200, sandbox.account, True)
