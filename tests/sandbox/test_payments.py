"""Payment intents and their charges: every way through the statuses, and what each leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import NO_REDIRECTS, Asking


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def intent(ask: Asking, **params: Any) -> Any:
    """Return a payment intent that waits."""
    automatic = {"enabled": True, "allow_redirects": "never"}
    return ask.post("/v1/payment_intents", **{"amount": 2000, "currency": "usd", "automatic_payment_methods": automatic, **params})


def action(ask: Asking, payment: Any, name: str, **params: Any) -> Any:
    return ask.post(f"/v1/payment_intents/{payment['id']}/{name}", **params)


def refusal(ask: Asking, payment: Any, name: str, **params: Any) -> Any:
    """Return the error of an action that is refused because of the payment's status."""
    path = f"/v1/payment_intents/{payment['id']}"
    status, error = ask.refused("POST", f"{path}/{name}" if name else path, **params)
    assert (status, error["code"]) == (400, "payment_intent_unexpected_state")
    assert error["payment_intent"] == ask.get(path)
    return error


# From status to status.


def test_a_payment_in_steps(ask: Asking) -> None:
    """A payment waits for a method, then for its confirmation, and then has succeeded."""
    payment = intent(ask)
    assert (payment["status"], payment["payment_method"], payment["latest_charge"]) == ("requires_payment_method", None, None)
    ready = ask.post(f"/v1/payment_intents/{payment['id']}", payment_method="pm_card_visa")
    assert ready["status"] == "requires_confirmation"
    paid = action(ask, payment, "confirm")
    assert (paid["status"], paid["amount_received"], paid["payment_method"]) == ("succeeded", 2000, ready["payment_method"])
    charge = ask.get(f"/v1/charges/{paid['latest_charge']}")
    assert (charge["paid"], charge["captured"], charge["amount_captured"]) == (True, True, 2000)
    assert charge["outcome"]["type"] == "authorized"
    assert ask.events() == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]


def test_the_balance_comes_later(ask: Asking) -> None:
    """Captured asynchronously, which is the default, a charge has its balance transaction only after the answer; captured at once it has it."""
    later = ask.pay(expand=["latest_charge"])
    assert later["capture_method"] == "automatic_async"
    assert later["latest_charge"]["balance_transaction"] is None
    assert ask.get(f"/v1/charges/{later['latest_charge']['id']}")["balance_transaction"].startswith("txn_")
    (event,) = ask.get("/v1/events", type="charge.updated")["data"]
    assert (event["data"]["previous_attributes"], event["request"]["id"]) == ({"balance_transaction": None}, None)
    at_once = ask.pay(capture_method="automatic", expand=["latest_charge.balance_transaction"])
    assert at_once["latest_charge"]["balance_transaction"]["amount"] == 2000


def test_a_decline_leads_back(ask: Asking) -> None:
    """After a decline the payment wants another method, tells why, and can still succeed; the failed charge stays."""
    payment = intent(ask)
    path = f"/v1/payment_intents/{payment['id']}"
    status, error = ask.refused("POST", f"{path}/confirm", payment_method="pm_card_visa_chargeDeclinedLostCard")
    assert (status, error["type"], error["code"], error["decline_code"]) == (402, "card_error", "card_declined", "lost_card")
    kept = ask.get(path)
    assert error["payment_intent"] == kept
    assert (kept["status"], kept["payment_method"], kept["latest_charge"]) == ("requires_payment_method", None, error["charge"])
    last = kept["last_payment_error"]
    assert (last["code"], last["decline_code"], last["charge"]) == ("card_declined", "lost_card", error["charge"])
    assert last["payment_method"]["id"] == error["payment_method"]["id"]
    paid = action(ask, payment, "confirm", payment_method="pm_card_visa")
    assert (paid["status"], paid["last_payment_error"]) == ("succeeded", None)
    failed, charged = reversed(ask.get("/v1/charges", payment_intent=payment["id"])["data"])
    assert (failed["status"], failed["failure_code"], charged["status"]) == ("failed", "card_declined", "succeeded")
    assert failed["outcome"]["type"] == "issuer_declined"


def test_radar_blocks(ask: Asking) -> None:
    """A charge that Radar blocks never reached the network, and says so."""
    status, error = ask.refused(
        "POST", "/v1/payment_intents", amount=2000, currency="usd", payment_method="pm_card_radarBlock", **NO_REDIRECTS
    )
    outcome = ask.get(f"/v1/charges/{error['charge']}")["outcome"]
    assert (status, error["decline_code"]) == (402, "fraudulent")
    assert (outcome["type"], outcome["network_status"], outcome["risk_level"]) == ("blocked", "not_sent_to_network", "highest")


def test_a_card_expires(ask: Asking) -> None:
    """A card that is kept is declined once the clock has passed its date."""
    customer = ask.post("/v1/customers", payment_method="pm_card_visa")["id"]
    (card,) = ask.get(f"/v1/customers/{customer}/payment_methods")["data"]
    ask.sandbox.clock.advance(days=800)
    params = {"amount": 2000, "currency": "usd", "customer": customer, "payment_method": card["id"], **NO_REDIRECTS}
    assert ask.refused("POST", "/v1/payment_intents", **params)[1]["code"] == "expired_card"


def test_a_payment_is_confirmed_once(ask: Asking) -> None:
    """A payment that succeeded cannot be confirmed, captured or canceled, nor its amount changed; it is charged once."""
    paid = ask.pay()
    for name in ("confirm", "capture", "cancel"):
        refusal(ask, paid, name)
    assert refusal(ask, paid, "", amount=3000)["param"] == "amount"
    assert len(ask.get("/v1/charges")["data"]) == 1
    described = ask.post(f"/v1/payment_intents/{paid['id']}", description="Shoes", metadata={"order": "42"})
    assert (described["description"], described["metadata"]) == ("Shoes", {"order": "42"})


def test_nothing_to_confirm_with(ask: Asking) -> None:
    """A payment without a method cannot be confirmed; made and confirmed at once, it is not made."""
    refusal(ask, intent(ask), "confirm")
    status, error = ask.refused("POST", "/v1/payment_intents", amount=2000, currency="usd", **NO_REDIRECTS)
    assert (status, error["code"]) == (400, "payment_intent_unexpected_state")
    assert len(ask.get("/v1/payment_intents")["data"]) == 1


def test_a_method_can_be_taken_back(ask: Asking) -> None:
    """Without its method, a payment waits for one again."""
    payment = intent(ask, payment_method="pm_card_visa")
    changed = ask.post(f"/v1/payment_intents/{payment['id']}", payment_method="")
    assert (changed["status"], changed["payment_method"]) == ("requires_payment_method", None)


# Held and captured.


def test_money_is_held_and_taken_in_part(ask: Asking) -> None:
    """A held payment is captured in part; the rest is released, and only the part is on the balance and can be refunded."""
    held = ask.pay(capture_method="manual", expand=["latest_charge"])
    assert (held["status"], held["amount_capturable"], held["amount_received"]) == ("requires_capture", 2000, 0)
    charge = held["latest_charge"]
    week = 7 * 24 * 60 * 60
    assert (charge["captured"], charge["payment_method_details"]["card"]["capture_before"]) == (False, charge["created"] + week)
    taken = action(ask, held, "capture", amount_to_capture=1200, metadata={"part": "1"})
    assert (taken["status"], taken["amount_received"], taken["amount_capturable"], taken["metadata"]) == (
        "succeeded",
        1200,
        0,
        {"part": "1"},
    )
    charge = ask.get(f"/v1/charges/{charge['id']}", expand=["balance_transaction"])
    assert (charge["amount"], charge["amount_captured"], charge["amount_refunded"], charge["refunded"]) == (2000, 1200, 800, False)
    assert charge["balance_transaction"]["amount"] == 1200
    assert ask.post("/v1/refunds", payment_intent=held["id"])["amount"] == 1200
    assert ask.events() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
        "charge.refunded",
        "refund.created",
    ]


@pytest.mark.parametrize(
    ("amount", "code"), [(2001, "amount_too_large"), (0, "parameter_invalid_integer"), (-1, "parameter_invalid_integer")]
)
def test_no_more_is_captured_than_is_held(ask: Asking, amount: int, code: str) -> None:
    """More than what is held, and nothing or less, is refused and captures nothing."""
    held = ask.pay(capture_method="manual")
    status, error = ask.refused("POST", f"/v1/payment_intents/{held['id']}/capture", amount_to_capture=amount)
    assert (status, error["code"], error["param"]) == (400, code, "amount_to_capture")
    assert ask.get(f"/v1/payment_intents/{held['id']}") == held


def test_the_card_alone_can_be_held(ask: Asking) -> None:
    """Capturing by hand can be asked for as an option of cards."""
    held = ask.pay(payment_method_options={"card": {"capture_method": "manual"}})
    assert (held["status"], held["capture_method"]) == ("requires_capture", "automatic_async")


@pytest.mark.parametrize("capture_method", ["automatic_async", "manual"])
def test_a_payment_is_canceled(ask: Asking, capture_method: str) -> None:
    """A payment that has not succeeded can be canceled, once; what it held is released."""
    payment = ask.pay(capture_method="manual") if capture_method == "manual" else intent(ask)
    canceled = action(ask, payment, "cancel", cancellation_reason="abandoned")
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "abandoned")
    assert (canceled["canceled_at"], canceled["amount_capturable"]) == (payment["created"], 0)
    for name in ("confirm", "capture", "cancel"):
        refusal(ask, payment, name)
    if payment["latest_charge"]:
        charge = ask.get(f"/v1/charges/{payment['latest_charge']}")
        assert (charge["refunded"], charge["amount_refunded"], charge["amount_captured"]) == (True, 2000, 0)
    assert [row["amount"] for row in ask.get("/v1/balance")["pending"]] == [0]


def test_what_is_held_runs_out(ask: Asking) -> None:
    """After seven days an authorization that nobody captured is released by itself; one that was captured is not."""
    held, taken = ask.pay(capture_method="manual"), ask.pay(capture_method="manual")
    action(ask, taken, "capture")
    ask.sandbox.clock.advance(days=6, hours=23)
    assert ask.get(f"/v1/payment_intents/{held['id']}")["status"] == "requires_capture"
    ask.sandbox.clock.advance(hours=1)
    expired = ask.get(f"/v1/payment_intents/{held['id']}")
    assert (expired["status"], expired["cancellation_reason"]) == ("canceled", "automatic")
    assert ask.get(f"/v1/payment_intents/{taken['id']}")["status"] == "succeeded"
    assert ask.events()[-2:] == ["charge.expired", "payment_intent.canceled"]


# With the customer's authentication.


@pytest.mark.parametrize(
    ("card", "status"),
    [
        ("pm_card_authenticationRequired", "requires_action"),
        ("pm_card_authenticationRequiredOnSetup", "requires_action"),
        ("pm_card_authenticationRequiredSetupForOffSession", "requires_action"),
        ("pm_card_threeDSecure2Required", "requires_action"),
        ("pm_card_threeDSecureOptional", "succeeded"),
        ("pm_card_amex_threeDSecureNotSupported", "succeeded"),
    ],
)
def test_which_cards_ask(ask: Asking, card: str, status: str) -> None:
    """With the customer there, some cards ask and some do not."""
    payment = ask.pay(payment_method=card)
    assert payment["status"] == status
    assert (payment["next_action"] is not None) == (status == "requires_action")


@pytest.mark.parametrize(
    ("card", "asked"), [("pm_card_threeDSecureOptional", True), ("pm_card_visa", False), ("pm_card_threeDSecure2Required", True)]
)
def test_authentication_can_be_asked_for(ask: Asking, card: str, *, asked: bool) -> None:
    """Asked for by the server, a card that can authenticate does."""
    payment = ask.pay(payment_method=card, payment_method_options={"card": {"request_three_d_secure": "any"}})
    assert (payment["status"] == "requires_action") == asked


def test_where_the_customer_is_sent(ask: Asking) -> None:
    """With a return_url the customer is redirected and comes back there; for Stripe.js there is something else."""
    waiting = intent(ask, payment_method="pm_card_threeDSecure2Required")
    sent = action(ask, waiting, "confirm", return_url="https://shop.test/done")["next_action"]
    assert (sent["type"], sent["redirect_to_url"]["return_url"]) == ("redirect_to_url", "https://shop.test/done")
    again = action(ask, waiting, "confirm", return_url="https://shop.test/done", use_stripe_sdk=True)["next_action"]
    assert again["type"] == "use_stripe_sdk"


def test_the_customer_passes(ask: Asking) -> None:
    """After the authentication the card is charged, and the charge says that it was authenticated."""
    waiting = ask.pay(payment_method="pm_card_authenticationRequired")
    assert waiting["latest_charge"] is None
    paid = ask.sandbox.complete_action(waiting["id"])
    assert (paid["status"], paid["next_action"]) == ("succeeded", None)
    charge = ask.get(f"/v1/charges/{paid['latest_charge']}")
    assert charge["payment_method_details"]["card"]["three_d_secure"]["result"] == "authenticated"
    assert ask.events()[1:4] == ["payment_intent.requires_action", "charge.succeeded", "payment_intent.succeeded"]


def test_the_customer_fails(ask: Asking) -> None:
    """After a failed authentication there is no charge, the payment wants another method, and can still succeed."""
    waiting = ask.pay(payment_method="pm_card_authenticationRequired")
    back = ask.sandbox.complete_action(waiting["id"], "failed")
    assert (back["status"], back["payment_method"], back["latest_charge"]) == ("requires_payment_method", None, None)
    assert back["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert ask.events()[-1] == "payment_intent.payment_failed"
    assert action(ask, waiting, "confirm", payment_method="pm_card_visa")["status"] == "succeeded"


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_threeDSecureRequiredChargeDeclined", "generic_decline"),
    ],
)
def test_a_card_is_declined_after_all(ask: Asking, card: str, decline_code: str) -> None:
    """Some cards are declined though their owner passed."""
    back = ask.sandbox.complete_action(ask.pay(payment_method=card)["id"])
    assert (back["status"], back["last_payment_error"]["decline_code"]) == ("requires_payment_method", decline_code)


def test_the_server_confirms_again(ask: Asking) -> None:
    """With the confirmation by hand, the server has the last word after the authentication."""
    waiting = ask.pay(payment_method="pm_card_authenticationRequired", confirmation_method="manual")
    assert ask.sandbox.complete_action(waiting["id"])["status"] == "requires_confirmation"
    assert action(ask, waiting, "confirm")["status"] == "succeeded"


def test_another_amount_is_asked_about_again(ask: Asking) -> None:
    """A payment that waits for its customer and changes must be confirmed again."""
    waiting = ask.pay(payment_method="pm_card_authenticationRequired")
    changed = ask.post(f"/v1/payment_intents/{waiting['id']}", amount=2500)
    assert (changed["status"], changed["next_action"]) == ("requires_confirmation", None)
    with pytest.raises(ConfigurationError, match="requires_confirmation"):
        ask.sandbox.complete_action(waiting["id"])


def test_without_the_customer(ask: Asking) -> None:
    """Without the customer, a card that must ask is declined; one that was set up, or needs no customer, is charged."""

    def later(card: str) -> Any:
        reply = ask.send("POST", "/v1/payment_intents", {**WITHOUT, "customer": customer, "payment_method": card})
        return reply.status

    customer = ask.post("/v1/customers")["id"]
    always, on_setup, set_up = (
        ask.post(f"/v1/payment_methods/pm_card_{name}/attach", customer=customer)["id"]
        for name in ("authenticationRequired", "authenticationRequiredOnSetup", "authenticationRequiredSetupForOffSession")
    )
    assert [later(card) for card in (always, on_setup, set_up)] == [402, 402, 200]
    first = ask.pay(customer=customer, payment_method=on_setup, setup_future_usage="off_session")
    ask.sandbox.complete_action(first["id"])
    assert [later(card) for card in (always, on_setup)] == [402, 200]
    assert ask.get("/v1/charges", limit=1)["data"][0]["paid"] is True


WITHOUT = {"amount": 2000, "currency": "usd", "confirm": True, "off_session": True}


def test_a_decline_for_want_of_authentication(ask: Asking) -> None:
    """It is told from other declines by its code; error_on_requires_action gives the same."""
    params = {"amount": 2000, "currency": "usd", "payment_method": "pm_card_authenticationRequired", "confirm": True}
    for how in ({"off_session": "recurring"}, {"error_on_requires_action": True, "allowed_payment_method_types": ["card"]}):
        status, error = ask.refused("POST", "/v1/payment_intents", **params, **how)
        assert (status, error["code"], error["decline_code"]) == (402, "authentication_required", "authentication_required")
        assert error["payment_intent"]["status"] == "requires_payment_method"


# Cards and customers.


def test_a_card_is_kept_for_later(ask: Asking) -> None:
    """With setup_future_usage the card is attached to the customer once the payment has succeeded."""
    customer = ask.post("/v1/customers")["id"]
    paid = ask.pay(customer=customer, setup_future_usage="on_session")
    assert [row["id"] for row in ask.get(f"/v1/customers/{customer}/payment_methods")["data"]] == [paid["payment_method"]]
    assert "payment_method.attached" in ask.events()
    assert ask.pay(customer=customer, payment_method=paid["payment_method"])["status"] == "succeeded"


def test_a_card_without_a_customer_is_used_once(ask: Asking) -> None:
    """A card that paid without being kept cannot pay again, nor be kept."""
    card = ask.pay()["payment_method"]
    status, error = ask.refused("POST", "/v1/payment_intents", amount=2000, currency="usd", payment_method=card, **NO_REDIRECTS)
    assert (status, error["code"], error["param"]) == (400, "payment_method_unexpected_state", "payment_method")
    customer = ask.post("/v1/customers")["id"]
    assert ask.refused("POST", f"/v1/payment_methods/{card}/attach", customer=customer)[0] == 400


def test_a_card_pays_for_its_customer_only(ask: Asking) -> None:
    """A kept card pays for its own customer and for nobody else."""
    one, other = (ask.post("/v1/customers")["id"] for _ in range(2))
    card = ask.post("/v1/payment_methods/pm_card_visa/attach", customer=one)["id"]
    for customer in ({}, {"customer": other}):
        params = {"amount": 2000, "currency": "usd", "payment_method": card, **customer}
        status, error = ask.refused("POST", "/v1/payment_intents", **params)
        assert (status, error["param"]) == (400, "payment_method")
    assert ask.pay(customer=one, payment_method=card)["status"] == "succeeded"


def test_a_payment_with_card_data(ask: Asking) -> None:
    """A card can be sent with the payment itself, as a token."""
    data = {
        "type": "card",
        "card": {"token": "tok_visa"},
        "billing_details": {"name": "Jenny", "address": {"postal_code": "12345"}},
    }
    paid = ask.post(
        "/v1/payment_intents", amount=2000, currency="usd", payment_method_data=data, **NO_REDIRECTS, expand=["latest_charge"]
    )
    assert paid["latest_charge"]["billing_details"]["name"] == "Jenny"
    assert paid["latest_charge"]["payment_method_details"]["card"]["checks"]["address_postal_code_check"] == "pass"


@pytest.mark.parametrize(
    ("card", "check"), [("pm_card_cvcCheckFail", "cvc_check"), ("pm_card_avsZipFail", "address_postal_code_check")]
)
def test_a_check_fails(ask: Asking, card: str, check: str) -> None:
    """A failed check does not stop a payment; it is in the charge."""
    paid = ask.pay(payment_method=card, expand=["latest_charge"])
    assert paid["latest_charge"]["payment_method_details"]["card"]["checks"][check] == "fail"


# What is refused.


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": -1}, "parameter_invalid_integer", "amount"),
        ({"amount": "20.00"}, "parameter_invalid_integer", "amount"),
        ({"amount": ""}, "parameter_invalid_empty", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"amount": 29, "currency": "gbp"}, "amount_too_small", "amount"),
        ({"amount": 1001, "currency": "kwd"}, "invalid_charge_amount", "amount"),
        ({"currency": "usdollar"}, None, "currency"),
        ({"currency": ""}, "parameter_invalid_empty", "currency"),
        ({"customer": "cus_gone"}, "resource_missing", "customer"),
        ({"payment_method": "pm_gone"}, "resource_missing", "payment_method"),
        ({"payment_method": "pm_card_madeUp"}, "resource_missing", "payment_method"),
        (
            {"payment_method": "pm_card_visa", "payment_method_data": {"type": "card", "card": {"token": "tok_visa"}}},
            "parameters_exclusive",
            "payment_method",
        ),
        ({"payment_method_types": ["card"]}, "payment_method_types_no_longer_supported", "payment_method_types"),
        ({"application_fee_amount": 1}, None, "application_fee_amount"),
        ({"return_url": "https://shop.test/"}, None, "return_url"),
        ({"off_session": True}, None, "off_session"),
        ({"confirm": "yes"}, None, "confirm"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"statement_descriptor_suffix": "x" * 23}, "parameter_invalid_string_too_long", "statement_descriptor_suffix"),
        ({"confirm": True, "payment_method": "pm_card_visa"}, None, "return_url"),
        (
            {
                "confirm": True,
                "payment_method": "pm_card_visa",
                "return_url": "https://shop.test/",
                "error_on_requires_action": True,
            },
            None,
            "error_on_requires_action",
        ),
        ({**NO_REDIRECTS, "payment_method": "pm_card_visa", "statement_descriptor": "SHOP"}, None, "statement_descriptor"),
    ],
)
def test_what_makes_no_payment(ask: Asking, params: dict[str, Any], code: str | None, param: str) -> None:
    """What Stripe refuses is refused with its code and parameter, and there is no payment and no event afterwards."""
    status, error = ask.refused("POST", "/v1/payment_intents", **{"amount": 2000, "currency": "usd", **params})
    assert (status, error.get("code"), error.get("param")) == (400, code, param)
    assert ask.get("/v1/payment_intents")["data"] == []
    assert ask.events() == []


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"mandate": "mandate_1"}, "mandate"),
        ({"on_behalf_of": "acct_1"}, "on_behalf_of"),
        ({"transfer_data": {"destination": "acct_1"}}, "transfer_data"),
        ({"payment_method_options": {"klarna": {"preferred_locale": "en-US"}}}, "payment_method_options[klarna]"),
        ({"payment_method_options": {"card": {"moto": True}}}, "payment_method_options[card][moto]"),
        ({"allowed_payment_method_types": ["card", "ideal"]}, "allowed_payment_method_types[1]"),
        ({"payment_method": "pm_card_createDispute"}, "payment_method"),
        ({"payment_method": "pm_usBankAccount_success"}, "payment_method"),
    ],
)
def test_what_the_sandbox_cannot(ask: Asking, params: dict[str, Any], param: str) -> None:
    """What only Stripe can do is refused by name and leaves nothing."""
    status, error = ask.refused("POST", "/v1/payment_intents", amount=2000, currency="usd", **params)
    assert (status, error["code"], error["param"]) == (501, "sandbox_unsupported", param)
    assert ask.events() == []


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"currency": "JPY", "amount": 50}, "requires_payment_method"),
        ({"return_url": "https://shop.test/", "confirm": True, "payment_method": "pm_card_visa"}, "succeeded"),
        ({"allowed_payment_method_types": ["card"], "confirm": True, "payment_method": "pm_card_visa"}, "succeeded"),
        ({"automatic_payment_methods": {"enabled": False}, "confirm": True, "payment_method": "pm_card_visa"}, "succeeded"),
    ],
)
def test_what_makes_a_payment(ask: Asking, params: dict[str, Any], status: str) -> None:
    """Currencies come in any case; with a return_url, allowed types, or none of the Dashboard's, a payment can be confirmed."""
    made = ask.post("/v1/payment_intents", **{"amount": 2000, "currency": "usd", **params})
    assert (made["status"], made["currency"]) == (status, params.get("currency", "usd").lower())


def test_an_option_is_taken_back(ask: Asking) -> None:
    """An empty value takes the options of cards back."""
    made = intent(ask, payment_method_options={"card": {"request_three_d_secure": "any"}})
    assert made["payment_method_options"]["card"]["request_three_d_secure"] == "any"
    changed = ask.post(f"/v1/payment_intents/{made['id']}", payment_method_options={"card": ""})
    assert changed["payment_method_options"]["card"]["request_three_d_secure"] == "automatic"


def test_charges_can_be_annotated(ask: Asking) -> None:
    """A charge takes descriptions, shipping, metadata and a report of fraud; each change is an event."""
    charge = f"/v1/charges/{ask.pay()['latest_charge']}"
    address = {"line1": "1 Main Street"}
    changed = ask.post(
        charge, shipping={"name": "Jenny", "address": address}, metadata={"a": "1"}, fraud_details={"user_report": "fraudulent"}
    )
    assert (changed["shipping"]["name"], changed["metadata"], changed["fraud_details"]) == (
        "Jenny",
        {"a": "1"},
        {"user_report": "fraudulent"},
    )
    assert ask.post(charge, fraud_details={"user_report": ""})["fraud_details"] == {}
    assert ask.events()[-2:] == ["charge.updated", "charge.updated"]
    assert ask.refused("POST", "/v1/charges", amount=2000, currency="usd", source="tok_visa")[1]["code"] == "sandbox_unsupported"


def test_lists_of_payments(ask: Asking) -> None:
    """Payments and charges are listed by customer, time, payment and group."""
    customer = ask.post("/v1/customers")["id"]
    first = ask.pay(customer=customer, transfer_group="g")
    ask.sandbox.clock.advance(days=1)
    second = ask.pay()
    narrowed = [{"customer": customer}, {"created": {"lte": first["created"]}}]
    assert [[row["id"] for row in ask.get("/v1/payment_intents", **params)["data"]] for params in narrowed] == [[first["id"]]] * 2
    narrowed += [{"payment_intent": first["id"]}, {"transfer_group": "g"}]
    assert [[row["id"] for row in ask.get("/v1/charges", **params)["data"]] for params in narrowed] == [
        [first["latest_charge"]]
    ] * 4
    assert [row["id"] for row in ask.get("/v1/payment_intents")["data"]] == [second["id"], first["id"]]
