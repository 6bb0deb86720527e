"""Payments and refunds, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Visitor

PAYMENT = {"amount": 2000, "currency": "usd"}
PAID = {**PAYMENT, "payment_method": "pm_card_visa", "confirm": True}


def test_a_payment_is_made_and_found(visitor: Visitor) -> None:
    """A payment that was made can be got, without the secret that completes it."""
    made = visitor.post("/payments", PAYMENT)
    assert made.status == 201
    assert made.json["client_secret"].startswith(made.json["id"])
    found = visitor.get(f"/payments/{made.json['id']}")
    assert (found.status, found.json["amount"], found.json["currency"]) == (200, 2000, "usd")
    assert "client_secret" not in found.json


def test_lists_go_on(visitor: Visitor) -> None:
    """Every payment is on exactly one page, and the last page leads nowhere."""
    made = [visitor.post("/payments", PAYMENT).json["id"] for _ in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = visitor.get("/payments?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        assert page["has_more"] is (page["next_cursor"] is not None)
        found += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert found == made[::-1]


def test_payments_of_one_status(visitor: Visitor) -> None:
    """The filter for the status sees a payment at once, page by page."""
    for body in (PAID, PAYMENT, PAID, PAYMENT, PAID):
        assert visitor.post("/payments", body).status == 201
    first = visitor.get("/payments?status=succeeded&limit=2").json
    rest = visitor.get(f"/payments?status=succeeded&limit=2&cursor={first['next_cursor']}").json
    assert [one["status"] for one in first["data"] + rest["data"]] == ["succeeded"] * 3
    assert (first["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"amount": 20.5, "currency": "usd"}, "/amount"),
        ({"amount": 20.0, "currency": "usd"}, "/amount"),
        ({"amount": "2000", "currency": "usd"}, "/amount"),
        ({"amount": True, "currency": "usd"}, "/amount"),
        ({"amount": -1, "currency": "usd"}, "/amount"),
        ({"amount": 0, "currency": "usd"}, "/amount"),
        ({"amount": 10**15, "currency": "usd"}, "/amount"),
        ({"amount": 2000, "currency": "zzz"}, "/currency"),
        ({"amount": 101, "currency": "isk"}, ""),
        ({"amount": 2000, "currency": "usd", "metadata": {"note": "x" * 501}}, "/metadata/note"),
        ({"amount": 2000, "currency": "usd", "metadata": {f"n{number}": "" for number in range(51)}}, "/metadata"),
        ({"amount": 2000, "currency": "usd", "amuont": 1}, "/amuont"),
        ({"amount": 2000, "currency": "usd", "customer": "cus_1/../x"}, "/customer"),
        ({"amount": 2000, "currency": "usd", "application_fee_amount": 2001}, ""),
        ([], ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_input_never_reaches_stripe(world: Any, body: Any, pointer: str) -> None:
    """Money that is no whole number above 0, unknown currencies and oversized metadata are refused with where they stand."""
    visitor = world.mount(client=world.client())
    answer = visitor.post("/payments", body)
    assert (answer.status, answer.kind) == (422, "invalid_input")
    assert pointer in {error["pointer"] for error in answer.json["errors"]}
    assert visitor.get("/payments").json["data"] == []


def test_a_declined_card(visitor: Visitor) -> None:
    """A decline is a problem with Stripe's code, and of a stolen card nobody learns that it is one."""
    declined = visitor.post("/payments", {**PAID, "payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds"})
    assert (declined.status, declined.kind) == (402, "card_declined")
    assert declined.json["decline_code"] == "insufficient_funds"
    assert declined.json["request_id"].startswith("req_")
    stolen = visitor.post("/payments", {**PAID, "payment_method": "pm_card_visa_chargeDeclinedStolenCard"})
    assert stolen.json["decline_code"] == "generic_decline"
    assert b"stolen" not in stolen.body


def test_the_idempotency_key_is_passed_on(visitor: Visitor) -> None:
    """The same request under the same key is one payment, and another request under it is refused."""
    key = {"Idempotency-Key": "order-42"}
    first, again = (visitor.post("/payments", PAYMENT, headers=key).json["id"] for _ in range(2))
    assert first == again
    other = visitor.post("/payments", {**PAYMENT, "amount": 1}, headers=key)
    assert (other.status, other.kind) == (409, "idempotency_key_reused")


def test_a_payment_is_given_back(visitor: Visitor) -> None:
    """A part of a payment is refunded, then no more than the rest."""
    payment = visitor.post("/payments", PAID).json["id"]
    part = visitor.post("/refunds", {"payment_intent": payment, "amount": 500})
    assert (part.status, part.json["amount"]) == (201, 500)
    assert visitor.get(f"/refunds/{part.json['id']}").json["payment_intent"] == payment
    much = visitor.post("/refunds", {"payment_intent": payment, "amount": 1501})
    assert (much.status, much.kind) == (400, "invalid_request")
    assert visitor.post("/refunds", {"payment_intent": payment}).json["amount"] == 1500
    assert [one["amount"] for one in visitor.get(f"/refunds?payment_intent={payment}").json["data"]] == [1500, 500]
