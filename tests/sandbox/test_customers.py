"""Customers and their payment methods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def test_life_of_a_customer(ask: Asking) -> None:
    """A customer is made, read, changed and deleted; then its id and that it is deleted can still be read."""
    made = ask.post("/v1/customers", email="jenny@example.com", name="Jenny")
    assert ask.get(f"/v1/customers/{made['id']}") == made
    changed = ask.post(f"/v1/customers/{made['id']}", name="Jenny Rosen")
    assert changed == {**made, "name": "Jenny Rosen"}
    gone = {"id": made["id"], "object": "customer", "deleted": True}
    assert ask.delete(f"/v1/customers/{made['id']}") == gone
    assert ask.get(f"/v1/customers/{made['id']}") == gone
    assert ask.get("/v1/customers")["data"] == []
    assert ask.events() == ["customer.created", "customer.updated", "customer.deleted"]


@pytest.mark.parametrize(("method", "params"), [("POST", {"name": "x"}), ("DELETE", {})])
def test_a_deleted_customer_stays_deleted(ask: Asking, method: str, params: dict[str, Any]) -> None:
    """A deleted customer cannot be changed or deleted again: there is no such customer."""
    made = ask.post("/v1/customers")
    ask.delete(f"/v1/customers/{made['id']}")
    status, error = ask.refused(method, f"/v1/customers/{made['id']}", **params)
    assert (status, error["code"], error["param"]) == (404, "resource_missing", "id")


def test_metadata_is_merged(ask: Asking) -> None:
    """Keys that are not sent stay, empty ones go, and an empty value for the whole clears it."""
    made = ask.post("/v1/customers", metadata={"a": "1", "b": "2"})
    assert made["metadata"] == {"a": "1", "b": "2"}
    assert ask.post(f"/v1/customers/{made['id']}", metadata={"b": "", "c": "3"})["metadata"] == {"a": "1", "c": "3"}
    assert ask.post(f"/v1/customers/{made['id']}", metadata="")["metadata"] == {}


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({"k" * 41: "v"}, "metadata"),
        ({"k": "v" * 501}, "metadata[k]"),
        ({f"k{number}": "v" for number in range(51)}, "metadata"),
        ({"k": {"nested": "v"}}, "metadata[k]"),
        ("text", "metadata"),
    ],
)
def test_metadata_has_limits(ask: Asking, metadata: Any, param: str) -> None:
    """Keys of more than 40 characters, values of more than 500, more than 50 keys and nesting are refused; nothing is made."""
    status, error = ask.refused("POST", "/v1/customers", metadata=metadata)
    assert (status, error["param"]) == (400, param)
    assert ask.get("/v1/customers")["data"] == []


def test_an_empty_string_unsets(ask: Asking) -> None:
    """Fields and whole addresses are unset by an empty string; an address is replaced as a whole."""
    made = ask.post("/v1/customers", name="Jenny", address={"city": "Springfield", "line1": "1 Main Street"}, tax_exempt="exempt")
    moved = ask.post(f"/v1/customers/{made['id']}", address={"city": "Shelbyville"})["address"]
    assert (moved["city"], moved["line1"]) == ("Shelbyville", None)
    unset = ask.post(f"/v1/customers/{made['id']}", name="", address="", tax_exempt="")
    assert (unset["name"], unset["address"], unset["tax_exempt"]) == (None, None, "none")


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"balance": "1.5"}, "parameter_invalid_integer", "balance"),
        ({"balance": ""}, "parameter_invalid_empty", "balance"),
        ({"shipping": {"name": "Jenny"}}, "parameter_missing", "shipping[address]"),
        ({"shipping": {"name": "", "address": {"city": "x"}}}, "parameter_invalid_empty", "shipping[name]"),
        ({"shipping": "home"}, None, "shipping"),
        ({"tax_exempt": "perhaps"}, None, "tax_exempt"),
        ({"email": "x" * 513}, "parameter_invalid_string_too_long", "email"),
        ({"email": {"a": "b"}}, None, "email"),
        ({"adress": {"city": "x"}}, "parameter_unknown", "adress"),
        ({"address": {"town": "x"}}, "parameter_unknown", "address[town]"),
        ({"payment_method": "pm_gone"}, "resource_missing", "payment_method"),
    ],
)
def test_wrong_parameters_are_named(ask: Asking, params: dict[str, Any], code: str | None, param: str) -> None:
    """A wrong, unknown or missing parameter is a 400 that names it, at any depth."""
    status, error = ask.refused("POST", "/v1/customers", **params)
    assert (status, error["type"], error.get("code"), error["param"]) == (400, "invalid_request_error", code, param)
    assert ask.events() == []


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"test_clock": "clock_1"}, "test_clock"),
        ({"tax_id_data": [{"type": "eu_vat", "value": "x"}]}, "tax_id_data"),
        ({"invoice_settings": {"custom_fields": [{"name": "a", "value": "b"}]}}, "invoice_settings[custom_fields]"),
        ({"invoice_settings": {"rendering_options": {"template": "x"}}}, "invoice_settings[rendering_options]"),
    ],
)
def test_what_only_stripe_can_do_is_refused_by_name(ask: Asking, params: dict[str, Any], param: str) -> None:
    """A parameter that Stripe knows and the sandbox does not is sandbox_unsupported and not to be retried; nothing is made."""
    reply = ask.send("POST", "/v1/customers", params)
    assert (reply.status, reply.headers["stripe-should-retry"]) == (501, "false")
    error = json.loads(reply.body)["error"]
    assert (error["code"], error["param"]) == ("sandbox_unsupported", param)
    assert param in error["message"]
    assert ask.events() == []


def test_a_change_says_what_it_was_before(ask: Asking) -> None:
    """The event of an update has the old values of what changed and of nothing else; a new key was null; no change is no event."""
    made = ask.post("/v1/customers", name="Jenny", metadata={"a": "1"}, address={"city": "Springfield", "line1": "1"})
    ask.post(f"/v1/customers/{made['id']}", name="Jenny", metadata={"b": "2"}, address={"city": "Shelbyville", "line1": "1"})
    ask.post(f"/v1/customers/{made['id']}", name="Jenny")
    updates = ask.get("/v1/events", type="customer.updated")["data"]
    assert [event["data"]["previous_attributes"] for event in updates] == [
        {"metadata": {"b": None}, "address": {"city": "Springfield"}}
    ]
    assert updates[0]["data"]["object"]["metadata"] == {"a": "1", "b": "2"}


def test_a_list_can_be_narrowed(ask: Asking) -> None:
    """Customers are listed newest first, by exact email or time of creation."""
    old = ask.post("/v1/customers", email="a@example.com")
    ask.sandbox.clock.advance(hours=1)
    new = ask.post("/v1/customers", email="A@example.com")
    assert [row["id"] for row in ask.get("/v1/customers")["data"]] == [new["id"], old["id"]]
    assert [row["id"] for row in ask.get("/v1/customers", email="a@example.com")["data"]] == [old["id"]]
    assert [row["id"] for row in ask.get("/v1/customers", created={"gt": old["created"]})["data"]] == [new["id"]]
    assert [row["id"] for row in ask.get("/v1/customers", created={"lte": old["created"]})["data"]] == [old["id"]]
    assert [row["id"] for row in ask.get("/v1/customers", created={"gte": new["created"], "lt": new["created"]})["data"]] == []
    assert [row["id"] for row in ask.get("/v1/customers", created=new["created"])["data"]] == [new["id"]]


# Payment methods.


def test_each_use_of_a_magic_id_is_a_new_method(ask: Asking) -> None:
    """A magic id makes another payment method each time, of the same card."""
    first, second = (ask.get("/v1/payment_methods/pm_card_visa") for _ in range(2))
    assert first["id"] != second["id"]
    assert first["card"] == second["card"]
    assert (first["card"]["brand"], first["card"]["last4"]) == ("visa", "4242")


@pytest.mark.parametrize(
    "card",
    [
        {"token": "tok_mastercard"},
        {"number": "5555 5555 5555 4444", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
    ],
)
def test_a_card_is_made_of_a_token_or_a_test_number(ask: Asking, card: dict[str, Any]) -> None:
    """A token or a test card's number makes a payment method, of which the last four digits are shown and nothing more."""
    billing = {"email": "jenny@example.com", "address": {"postal_code": "12345"}}
    reply = ask.send("POST", "/v1/payment_methods", {"type": "card", "card": card, "billing_details": billing})
    assert reply.status == 200
    assert b'"last4": "4444"' in reply.body
    assert b"555555555555" not in reply.body


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ({"number": "4242424242424241", "exp_month": 1, "exp_year": 2030}, "incorrect_number"),
        ({"number": "forty-two", "exp_month": 1, "exp_year": 2030}, "incorrect_number"),
        ({"number": "4111111111111111", "exp_month": 1, "exp_year": 2030}, "card_declined"),
        ({"number": "4242424242424242", "exp_month": 13, "exp_year": 2030}, "invalid_expiry_month"),
        ({"number": "4242424242424242", "exp_month": 10, "exp_year": 2026}, "invalid_expiry_year"),
        ({"number": "4242424242424242", "exp_month": 1, "exp_year": 2026, "cvc": "1"}, "invalid_expiry_year"),
        ({"number": "4242424242424242", "exp_month": 1, "exp_year": 2030, "cvc": "1"}, "invalid_cvc"),
    ],
)
def test_a_wrong_card_is_a_card_error(ask: Asking, card: dict[str, Any], code: str) -> None:
    """A number that is mistyped or no test card's, a wrong date or code is a 402, and the number is not repeated."""
    status, error = ask.refused("POST", "/v1/payment_methods", type="card", card=card)
    assert (status, error["type"], error["code"]) == (402, "card_error", code)
    assert card["number"] not in error["message"].split()


@pytest.mark.parametrize(
    ("params", "status", "code", "param"),
    [
        ({"type": "card"}, 400, "parameter_missing", "card"),
        ({"card": {"token": "tok_visa"}}, 400, "parameter_missing", "type"),
        ({"type": "card", "card": {"number": "4242424242424242"}}, 400, "parameter_missing", "card[exp_month]"),
        ({"type": "card", "card": {"token": "tok_made_up"}}, 400, "resource_missing", "card[token]"),
        ({"type": "klarna"}, 501, "sandbox_unsupported", "type"),
        ({"type": "coins"}, 400, None, "type"),
        ({"type": "card", "card": {"token": "tok_createDispute"}}, 501, "sandbox_unsupported", "payment_method"),
    ],
)
def test_what_makes_no_payment_method(ask: Asking, params: dict[str, Any], status: int, code: str | None, param: str) -> None:
    """A payment method needs a type and a card; other types than cards are refused by name."""
    answered, error = ask.refused("POST", "/v1/payment_methods", **params)
    assert (answered, error.get("code"), error["param"]) == (status, code, param)


def test_a_customer_keeps_a_card(ask: Asking) -> None:
    """An attached card is among its customer's, can be updated and be the default, until it is detached for good."""
    customer = ask.post("/v1/customers")["id"]
    card = ask.post("/v1/payment_methods/pm_card_visa/attach", customer=customer)
    assert card["customer"] == customer
    for path in ("/v1/payment_methods", f"/v1/customers/{customer}/payment_methods"):
        narrowed = {"customer": customer} if path == "/v1/payment_methods" else {}
        assert [row["id"] for row in ask.get(path, **narrowed)["data"]] == [card["id"]]
    assert ask.get(f"/v1/customers/{customer}/payment_methods/{card['id']}") == card
    changed = ask.post(f"/v1/payment_methods/{card['id']}", card={"exp_year": 2035}, billing_details={"name": "Jenny"})
    assert (changed["card"]["exp_year"], changed["billing_details"]["name"]) == (2035, "Jenny")
    settings = {"default_payment_method": card["id"]}
    assert (
        ask.post(f"/v1/customers/{customer}", invoice_settings=settings)["invoice_settings"]["default_payment_method"] == card["id"]
    )
    assert ask.post(f"/v1/payment_methods/{card['id']}/detach")["customer"] is None
    assert ask.get(f"/v1/customers/{customer}")["invoice_settings"]["default_payment_method"] is None
    status, error = ask.refused("POST", f"/v1/payment_methods/{card['id']}/attach", customer=customer)
    assert (status, error["code"]) == (400, "payment_method_unexpected_state")
    assert ask.events() == [
        "customer.created",
        "payment_method.attached",
        "payment_method.updated",
        "customer.updated",
        "payment_method.detached",
        "customer.updated",
    ]


def test_a_customer_is_made_with_a_card(ask: Asking) -> None:
    """A customer can be made with a card that is its default; the magic id then stands for the card that was attached."""
    made = ask.post("/v1/customers", payment_method="pm_card_visa", invoice_settings={"default_payment_method": "pm_card_visa"})
    (card,) = ask.get(f"/v1/customers/{made['id']}/payment_methods")["data"]
    assert made["invoice_settings"]["default_payment_method"] == card["id"]
    assert ask.events() == ["payment_method.attached", "customer.created"]


def test_a_deleted_customer_keeps_no_card(ask: Asking) -> None:
    """The cards of a deleted customer belong to nobody and cannot be used again."""
    made = ask.post("/v1/customers", payment_method="pm_card_visa")
    (card,) = ask.get(f"/v1/customers/{made['id']}/payment_methods")["data"]
    ask.delete(f"/v1/customers/{made['id']}")
    assert ask.get(f"/v1/payment_methods/{card['id']}")["customer"] is None
    other = ask.post("/v1/customers")["id"]
    assert (
        ask.refused("POST", f"/v1/payment_methods/{card['id']}/attach", customer=other)[1]["code"]
        == "payment_method_unexpected_state"
    )


@pytest.mark.parametrize(
    ("card", "attaches"),
    [("pm_card_chargeCustomerFail", True), ("pm_card_visa_chargeDeclined", False), ("pm_card_chargeDeclinedIncorrectCvc", False)],
)
def test_which_declined_cards_can_be_kept(ask: Asking, card: str, *, attaches: bool) -> None:
    """A card that is declined cannot be attached, but for the one that is there for that."""
    customer = ask.post("/v1/customers")["id"]
    reply = ask.send("POST", f"/v1/payment_methods/{card}/attach", {"customer": customer})
    assert reply.status == (200 if attaches else 402)
    assert len(ask.get(f"/v1/customers/{customer}/payment_methods")["data"]) == attaches


def test_somebody_elses_card(ask: Asking) -> None:
    """A card is not shown under another customer, cannot be their default, and cannot be attached twice."""
    one, other = (ask.post("/v1/customers")["id"] for _ in range(2))
    card = ask.post("/v1/payment_methods/pm_card_visa/attach", customer=one)["id"]
    assert ask.refused("GET", f"/v1/customers/{other}/payment_methods/{card}")[0] == 404
    status, error = ask.refused("POST", f"/v1/customers/{other}", invoice_settings={"default_payment_method": card})
    assert (status, error["param"]) == (400, "invoice_settings[default_payment_method]")
    assert ask.refused("POST", f"/v1/payment_methods/{card}/attach", customer=other)[0] == 400
    assert ask.refused("POST", "/v1/payment_methods/pm_card_visa/attach", customer="cus_gone")[1]["param"] == "customer"


@pytest.mark.parametrize("action", ["", "/detach"])
def test_a_card_that_nobody_keeps(ask: Asking, action: str) -> None:
    """Only a card that a customer keeps can be updated or detached."""
    card = ask.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    status, error = ask.refused("POST", f"/v1/payment_methods/{card}{action}")
    assert (status, error["code"]) == (400, "payment_method_unexpected_state")
    assert ask.get("/v1/payment_methods")["data"] == []
