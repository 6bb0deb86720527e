"""Products and their prices."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe.testing import StripeSandbox
from tests.sandbox.asking import Asking
from tests.sandbox.billing_world import monthly


@pytest.fixture
def ask() -> Asking:
    return Asking(StripeSandbox())


def ids(found: Any) -> list[str]:
    return [row["id"] for row in found["data"]]


def test_a_product_with_its_price(ask: Asking) -> None:
    """A product can be made with its price, which is its default; the product is told of first, with the price."""
    price = {"currency": "USD", "unit_amount": 2000, "recurring": {"interval": "month"}}
    product = ask.post("/v1/products", name="Gold", default_price_data=price, expand=["default_price"])
    assert product["default_price"]["product"] == product["id"]
    assert product["default_price"]["recurring"]["interval_count"] == 1
    assert (product["default_price"]["type"], product["default_price"]["currency"]) == ("recurring", "usd")
    assert ask.events() == ["product.created", "price.created"]
    told = ask.get("/v1/events", type="product.created")["data"][0]["data"]["object"]
    assert told["default_price"] == product["default_price"]["id"]


def test_a_product_changes(ask: Asking) -> None:
    """A product is changed field by field, its event says what was there before, and a change of nothing has no event."""
    product = ask.post("/v1/products", name="Gold", metadata={"a": "1"})
    ask.sandbox.clock.advance(seconds=5)
    changed = ask.post(
        f"/v1/products/{product['id']}", name="Silver", active=False, metadata={"b": "2"}, images=["https://shop.test/a"]
    )
    assert (changed["name"], changed["active"], changed["metadata"]) == ("Silver", False, {"a": "1", "b": "2"})
    assert changed["updated"] == product["updated"] + 5
    ask.post(f"/v1/products/{product['id']}", name="Silver")
    previous = ask.get("/v1/events", type="product.updated")["data"]
    assert [event["data"]["previous_attributes"]["name"] for event in previous] == ["Gold"]
    assert ask.post(f"/v1/products/{product['id']}", images="")["images"] == []


def test_another_default_price(ask: Asking) -> None:
    """The default price of a product is one of its own, or none."""
    price = monthly(ask)
    product = f"/v1/products/{ask.get(f'/v1/prices/{price}')['product']}"
    assert ask.post(product, default_price=price)["default_price"] == price
    assert ask.refused("POST", product, default_price=monthly(ask))[1]["param"] == "default_price"
    assert ask.post(product, default_price="")["default_price"] is None
    assert ask.refused("POST", "/v1/products", name="A", id="a/b")[1]["param"] == "id"


def test_lists_of_products(ask: Asking) -> None:
    """Products are listed newest first, by whether they are active, by ids and by URL."""
    first = ask.post("/v1/products", name="A", url="https://shop.test/a")["id"]
    second = ask.post("/v1/products", id="my-own_id", name="B", active=False)["id"]
    assert ids(ask.get("/v1/products")) == [second, first]
    assert ids(ask.get("/v1/products", active=True)) == [first]
    assert ids(ask.get("/v1/products", ids=[second])) == [second]
    assert ids(ask.get("/v1/products", url="https://shop.test/a")) == [first]


def test_deleting_a_product(ask: Asking) -> None:
    """A product without prices can be deleted, and is then known as deleted; one with prices cannot."""
    product = ask.post("/v1/products", name="Lead")["id"]
    assert ask.delete(f"/v1/products/{product}") == {"id": product, "object": "product", "deleted": True}
    assert ask.get(f"/v1/products/{product}")["deleted"] is True
    assert ids(ask.get("/v1/products")) == []
    sold = ask.get(f"/v1/prices/{monthly(ask)}")["product"]
    assert ask.refused("DELETE", f"/v1/products/{sold}")[0] == 400
    assert ask.refused("POST", "/v1/products", name="B", id=sold)[1]["code"] == "resource_already_exists"


def test_lists_of_prices(ask: Asking) -> None:
    """Prices are listed by product, lookup key, type, currency, interval and whether they are active."""
    product = ask.post("/v1/products", name="Gold")["id"]
    common = {"product": product, "currency": "usd"}
    once = ask.post("/v1/prices", **common, unit_amount=500, lookup_key="once")["id"]
    yearly = ask.post("/v1/prices", product=product, currency="eur", unit_amount=9000, recurring={"interval": "year"})["id"]
    other = monthly(ask)
    ask.post(f"/v1/prices/{yearly}", active=False, nickname="old")
    for wanted, found in (
        ({"product": product}, [yearly, once]),
        ({"lookup_keys": ["once", "never"]}, [once]),
        ({"type": "recurring"}, [other, yearly]),
        ({"type": "recurring", "active": True}, [other]),
        ({"recurring": {"interval": "year"}}, [yearly]),
        ({"currency": "eur"}, [yearly]),
    ):
        assert ids(ask.get("/v1/prices", **wanted)) == found


def test_a_lookup_key_is_of_one_price(ask: Asking) -> None:
    """A lookup key that another price has is refused, unless the caller says that it moves."""
    product = ask.post("/v1/products", name="Gold")["id"]
    price = {"product": product, "currency": "usd", "unit_amount": 500, "lookup_key": "gold"}
    old = ask.post("/v1/prices", **price)["id"]
    assert ask.refused("POST", "/v1/prices", **price)[1]["param"] == "lookup_key"
    new = ask.post("/v1/prices", **price, transfer_lookup_key=True)
    assert new["lookup_key"] == "gold"
    assert ask.get(f"/v1/prices/{old}")["lookup_key"] is None


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({"unit_amount": 5}, 400, "product"),
        ({"product": "prod_none", "unit_amount": 5}, 400, "product"),
        ({"product_data": {"name": "A"}, "product": "prod_none", "unit_amount": 5}, 400, "product"),
        ({"product_data": {"name": "A"}}, 400, "unit_amount"),
        ({"product_data": {"name": "A"}, "unit_amount": -5}, 400, "unit_amount"),
        ({"product_data": {"name": "A"}, "unit_amount": 5, "recurring": {"interval": "hour"}}, 400, "recurring[interval]"),
        (
            {"product_data": {"name": "A"}, "unit_amount": 5, "recurring": {"interval": "year", "interval_count": 4}},
            400,
            "recurring[interval_count]",
        ),
        ({"product_data": {"name": "A"}, "billing_scheme": "tiered"}, 501, "billing_scheme"),
        ({"product_data": {"name": "A"}, "unit_amount_decimal": "0.5"}, 501, "unit_amount_decimal"),
        (
            {"product_data": {"name": "A"}, "unit_amount": 5, "recurring": {"interval": "month", "usage_type": "metered"}},
            501,
            "recurring[usage_type]",
        ),
    ],
)
def test_prices_that_are_refused(ask: Asking, params: dict[str, Any], status: int, param: str) -> None:
    """What makes no price is refused as Stripe does, and what only the sandbox does not do, by name."""
    found, error = ask.refused("POST", "/v1/prices", currency="usd", **params)
    assert (found, error["param"]) == (status, param)
