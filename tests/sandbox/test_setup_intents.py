"""Setup intents: cards that are kept for later."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import NO_REDIRECTS, Asking
from tests.sandbox.billing_world import customer


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def test_a_setup_in_steps(ask: Asking) -> None:
    """A setup waits for a method, then for its confirmation, and then the customer has the card."""
    buyer = ask.post("/v1/customers")["id"]
    setup = ask.post("/v1/setup_intents", customer=buyer, metadata={"order": "42"})
    path = f"/v1/setup_intents/{setup['id']}"
    assert (setup["status"], setup["usage"]) == ("requires_payment_method", "off_session")
    assert ask.post(path, payment_method="pm_card_visa")["status"] == "requires_confirmation"
    done = ask.post(f"{path}/confirm", return_url="https://shop.test/", expand=["payment_method"])
    assert (done["status"], done["payment_method"]["customer"]) == ("succeeded", buyer)
    assert ask.events() == ["customer.created", "setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]
    assert ask.refused("POST", f"{path}/confirm", return_url="https://shop.test/")[1]["code"] == "setup_intent_unexpected_state"
    assert ask.refused("POST", f"{path}/cancel")[0] == 400
    assert ask.refused("POST", path, payment_method="pm_card_visa")[0] == 400
    assert ask.post(path, description="kept")["description"] == "kept"


def test_a_card_that_is_set_up_is_not_asked_again(ask: Asking) -> None:
    """A card that wants to be set up first pays without its owner afterwards."""
    buyer = ask.post("/v1/customers")["id"]
    setup = ask.post("/v1/setup_intents", customer=buyer, payment_method="pm_card_authenticationRequiredOnSetup", **NO_REDIRECTS)
    assert (setup["status"], setup["next_action"]["type"]) == ("requires_action", "use_stripe_sdk")
    done = ask.sandbox.complete_action(setup["id"])
    paid = ask.pay(customer=buyer, payment_method=done["payment_method"], off_session=True)
    assert paid["status"] == "succeeded"


def test_a_card_that_is_described(ask: Asking) -> None:
    """A setup can describe its card, and be for when its owner is there."""
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030}
    data = {"type": "card", "card": card, "billing_details": {"name": "Jenny"}}
    setup = ask.post("/v1/setup_intents", payment_method_data=data, usage="on_session", expand=["payment_method"], **NO_REDIRECTS)
    assert (setup["status"], setup["payment_method"]["billing_details"]["name"]) == ("succeeded", "Jenny")


def test_a_setup_that_fails(ask: Asking) -> None:
    """A card that is declined, and an owner who does not answer the bank, bring a setup back to its beginning."""
    declined = ask.refused("POST", "/v1/setup_intents", payment_method="pm_card_visa_chargeDeclined", **NO_REDIRECTS)
    assert (declined[0], declined[1]["setup_intent"]["status"]) == (402, "requires_payment_method")
    redirected = {"confirm": True, "return_url": "https://shop.test/"}
    setup = ask.post("/v1/setup_intents", payment_method="pm_card_authenticationRequired", **redirected)
    assert setup["next_action"]["redirect_to_url"]["return_url"] == "https://shop.test/"
    failed = ask.sandbox.complete_action(setup["id"], "failed")
    assert (failed["status"], failed["payment_method"]) == ("requires_payment_method", None)
    assert failed["last_setup_error"]["code"] == "setup_intent_authentication_failure"
    assert ask.events()[-1] == "setup_intent.setup_failed"
    with pytest.raises(ConfigurationError, match="requires_payment_method"):
        ask.sandbox.complete_action(setup["id"])


def test_lists_and_ends(ask: Asking) -> None:
    """Setups are listed by customer and payment method, and one that is not done can be canceled."""
    buyer = customer(ask)
    first = ask.post("/v1/setup_intents", customer=buyer, payment_method="pm_card_visa")
    other = ask.post("/v1/setup_intents", automatic_payment_methods={"enabled": False})
    for wanted, found in (
        ({"customer": buyer}, [first]),
        ({"payment_method": first["payment_method"]}, [first]),
        ({}, [other, first]),
    ):
        assert [row["id"] for row in ask.get("/v1/setup_intents", **wanted)["data"]] == [row["id"] for row in found]
    ended = ask.post(f"/v1/setup_intents/{other['id']}/cancel", cancellation_reason="duplicate")
    assert (ended["status"], ended["cancellation_reason"], ask.events()[-1]) == ("canceled", "duplicate", "setup_intent.canceled")
    assert ask.get(f"/v1/setup_intents/{other['id']}") == ended


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({"return_url": "https://shop.test/"}, 400, "return_url"),
        ({"confirm": True, "payment_method": "pm_card_visa"}, 400, "return_url"),
        ({"confirm": True}, 400, None),
        ({"payment_method": "pm_none"}, 400, "payment_method"),
        ({"customer": "cus_none"}, 400, "customer"),
        ({"payment_method_types": ["card"]}, 400, "payment_method_types"),
        ({"payment_method": "pm_card_visa", "payment_method_data": {"type": "card"}}, 400, "payment_method"),
        ({"usage": "sometimes"}, 400, "usage"),
        ({"flow_directions": ["inbound"]}, 501, "flow_directions"),
    ],
)
def test_setups_that_are_refused(ask: Asking, params: dict[str, Any], status: int, param: str | None) -> None:
    """What makes no setup is refused as Stripe does, and what only the sandbox does not do, by name."""
    found, error = ask.refused("POST", "/v1/setup_intents", **params)
    assert (found, error.get("param")) == (status, param)


def test_somebody_elses_card(ask: Asking) -> None:
    """A card that another customer keeps cannot be set up."""
    keeper = customer(ask)
    method = ask.get(f"/v1/customers/{keeper}")["invoice_settings"]["default_payment_method"]
    other = ask.post("/v1/customers")["id"]
    assert ask.refused("POST", "/v1/setup_intents", customer=other, payment_method=method)[1]["param"] == "payment_method"
