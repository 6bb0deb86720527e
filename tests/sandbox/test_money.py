"""Refunds, and where the money is: balance transactions, the balance, application fees."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking

DAY = 24 * 60 * 60


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def funds(ask: Asking) -> tuple[int, int]:
    """Return what is available and what is pending, in dollars' cents."""
    balance = ask.get("/v1/balance")
    return tuple(sum(row["amount"] for row in balance[name] if row["currency"] == "usd") for name in ("available", "pending"))  # type: ignore[return-value]


def test_refunds_in_parts(ask: Asking) -> None:
    """Parts are refunded until nothing is left, named by the payment or by its charge; the charge keeps count."""
    paid = ask.pay()
    first = ask.post("/v1/refunds", payment_intent=paid["id"], amount=500, reason="duplicate", metadata={"a": "1"})
    assert (first["amount"], first["charge"], first["payment_intent"]) == (500, paid["latest_charge"], paid["id"])
    assert (first["status"], first["reason"], first["metadata"]) == ("succeeded", "duplicate", {"a": "1"})
    charge = ask.get(f"/v1/charges/{paid['latest_charge']}", expand=["refunds"])
    assert (charge["amount_refunded"], charge["refunded"], charge["refunds"]["data"]) == (500, False, [first])
    second = ask.post("/v1/refunds", charge=paid["latest_charge"])
    assert second["amount"] == 1500
    charge = ask.get(f"/v1/charges/{paid['latest_charge']}")
    assert (charge["amount_refunded"], charge["refunded"]) == (2000, True)
    assert [row["id"] for row in ask.get("/v1/refunds", payment_intent=paid["id"])["data"]] == [second["id"], first["id"]]
    assert ask.get(f"/v1/refunds/{first['id']}") == first


def test_a_refund_says_what_it_changed(ask: Asking) -> None:
    """charge.refunded has the charge as it is and as it was, and comes before refund.created."""
    paid = ask.pay()
    refund = ask.post("/v1/refunds", payment_intent=paid["id"])
    created, refunded = ask.get("/v1/events", limit=2)["data"]
    assert (refunded["type"], created["type"]) == ("charge.refunded", "refund.created")
    assert refunded["data"]["previous_attributes"] == {"amount_refunded": 0, "refunded": False}
    assert created["data"]["object"] == refund


def test_a_refund_is_annotated(ask: Asking) -> None:
    """The metadata of a refund can be changed, and that is told under both of its names; anything else is refused."""
    refund = ask.post("/v1/refunds", payment_intent=ask.pay()["id"])
    assert ask.post(f"/v1/refunds/{refund['id']}", metadata={"a": "1"})["metadata"] == {"a": "1"}
    assert ask.events()[-2:] == ["charge.refund.updated", "refund.updated"]
    assert ask.refused("POST", f"/v1/refunds/{refund['id']}", amount=1)[1]["code"] == "parameter_unknown"
    assert ask.refused("POST", f"/v1/refunds/{refund['id']}/cancel")[1]["code"] == "sandbox_unsupported"


def test_what_cannot_be_refunded(ask: Asking) -> None:
    """More than is left, nothing, what was refunded, never captured, declined or never made: each is refused in its own way."""
    paid, held = ask.pay(), ask.pay(capture_method="manual")
    failed = ask.refused(
        "POST",
        "/v1/payment_intents",
        amount=2000,
        currency="usd",
        payment_method="pm_card_chargeCustomerFail",
        confirm=True,
        off_session=True,
    )[1]["charge"]
    ask.post("/v1/refunds", payment_intent=paid["id"], amount=1999)
    wrong: list[tuple[dict[str, Any], int, str | None, str | None]] = [
        ({"payment_intent": paid["id"], "amount": 2}, 400, None, "amount"),
        ({"payment_intent": paid["id"], "amount": 0}, 400, "parameter_invalid_integer", "amount"),
        ({"payment_intent": paid["id"], "amount": -5}, 400, "parameter_invalid_integer", "amount"),
        ({"payment_intent": held["id"]}, 400, "payment_intent_unexpected_state", "payment_intent"),
        ({"charge": held["latest_charge"]}, 400, "charge_not_refundable", "charge"),
        ({"charge": failed}, 400, "charge_not_refundable", "charge"),
        ({"charge": "ch_gone"}, 400, "resource_missing", "charge"),
        ({"payment_intent": "pi_gone"}, 400, "resource_missing", "payment_intent"),
        ({"charge": paid["latest_charge"], "payment_intent": paid["id"]}, 400, "parameters_exclusive", "charge"),
        ({}, 400, "parameter_missing", "payment_intent"),
        ({"payment_intent": paid["id"], "reason": "because"}, 400, None, "reason"),
        ({"payment_intent": paid["id"], "reverse_transfer": True}, 501, "sandbox_unsupported", "reverse_transfer"),
    ]
    for params, status, code, param in wrong:
        answered, error = ask.refused("POST", "/v1/refunds", **params)
        assert (answered, error.get("code"), error.get("param")) == (status, code, param), params
    ask.post("/v1/refunds", payment_intent=paid["id"])
    assert ask.refused("POST", "/v1/refunds", payment_intent=paid["id"])[1]["code"] == "charge_already_refunded"
    assert sum(row["amount"] for row in ask.get("/v1/refunds")["data"]) == 2000


def test_a_payment_moves_money(ask: Asking) -> None:
    """A payment of 20 dollars leaves 19.12 on the balance: 2.9 % and 30 cents are Stripe's. It is pending for two days."""
    paid = ask.pay(description="Shoes", expand=["latest_charge"])
    (moved,) = ask.get("/v1/balance_transactions")["data"]
    assert (moved["amount"], moved["fee"], moved["net"], moved["type"], moved["status"]) == (2000, 88, 1912, "charge", "pending")
    assert (moved["source"], moved["description"]) == (paid["latest_charge"]["id"], "Shoes")
    assert moved["available_on"] == moved["created"] + 2 * DAY
    assert funds(ask) == (0, 1912)
    ask.sandbox.clock.advance(days=1, hours=23, minutes=59)
    assert funds(ask) == (0, 1912)
    ask.sandbox.clock.advance(minutes=1)
    assert funds(ask) == (1912, 0)
    assert ask.get(f"/v1/balance_transactions/{moved['id']}")["status"] == "available"
    (event,) = ask.get("/v1/events", type="balance.available")["data"]
    assert event["data"]["object"]["available"][0]["amount"] == 1912


def test_a_refund_takes_it_back(ask: Asking) -> None:
    """A refund takes its amount from where the payment is, pending or available; the fee stays with Stripe."""
    paid = ask.pay()
    ask.post("/v1/refunds", payment_intent=paid["id"], amount=1000)
    assert funds(ask) == (0, 912)
    ask.sandbox.clock.advance(days=2)
    refund = ask.post("/v1/refunds", payment_intent=paid["id"], expand=["balance_transaction"])
    assert funds(ask) == (-88, 0)
    moved = refund["balance_transaction"]
    assert (moved["amount"], moved["fee"], moved["source"], moved["type"]) == (-1000, 0, refund["id"], "refund")


def test_currencies_stay_apart(ask: Asking) -> None:
    """Each currency has its own balance."""
    ask.pay(currency="eur")
    ask.pay(currency="jpy", amount=5000)
    pending = {row["currency"]: row["amount"] for row in ask.get("/v1/balance")["pending"]}
    assert pending == {"usd": 0, "eur": 1912, "jpy": 5000 - 145 - 30}
    (moved,) = ask.get("/v1/balance_transactions", currency="EUR")["data"]
    assert ask.get("/v1/balance_transactions", source=moved["source"])["data"] == [moved]
    assert ask.get("/v1/balance_transactions", type="refund")["data"] == []
    assert ask.refused("GET", "/v1/balance_transactions", payout="po_1")[1]["code"] == "sandbox_unsupported"


def test_money_that_is_there_at_once(ask: Asking) -> None:
    """One test card skips the waiting."""
    ask.pay(payment_method="pm_card_bypassPending")
    assert funds(ask) == (1912, 0)


def test_a_platform_keeps_its_part(ask: Asking) -> None:
    """Of a payment in a connected account the platform gets its fee, which the account pays; the two see their own money only."""
    seller = Asking(ask.sandbox, account=ask.sandbox.connect().id)
    paid = seller.pay(application_fee_amount=400, capture_method="automatic", expand=["latest_charge.balance_transaction"])
    charge = paid["latest_charge"]
    assert [fee["amount"] for fee in charge["balance_transaction"]["fee_details"]] == [88, 400]
    assert (funds(seller), funds(ask)) == ((0, 1512), (0, 400))
    (fee,) = ask.get("/v1/application_fees", charge=charge["id"])["data"]
    assert (fee["id"], fee["amount"], fee["charge"]) == (charge["application_fee"], 400, charge["id"])
    assert fee["account"] == seller.headers["Stripe-Account"]
    assert ask.get(f"/v1/application_fees/{fee['id']}", expand=["balance_transaction"])["balance_transaction"]["net"] == 400
    assert ask.events() == ["application_fee.created"]
    assert ask.get("/v1/payment_intents")["data"] == []
    assert ask.refused("GET", f"/v1/payment_intents/{paid['id']}")[0] == 404


def test_a_fee_has_limits(ask: Asking) -> None:
    """A fee above the payment is refused; after a partial capture it is no more than what was captured."""
    seller = Asking(ask.sandbox, account=ask.sandbox.connect().id)
    status, error = seller.refused("POST", "/v1/payment_intents", amount=2000, currency="usd", application_fee_amount=2001)
    assert (status, error["param"]) == (400, "application_fee_amount")
    held = seller.pay(application_fee_amount=400, capture_method="manual")
    seller.post(f"/v1/payment_intents/{held['id']}/capture", amount_to_capture=300)
    assert [fee["amount"] for fee in ask.get("/v1/application_fees")["data"]] == [300]
