"""
Prices: what a product costs, once or in every period. Tiers, metered usage and amounts that customers choose are refused by name.

Source: https://docs.stripe.com/api/prices
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import exclusive, missing
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Currency, Hash, Id, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing.resources import price_rows
from atom_stripe.testing.resources.price_rows import PRICE_FIELDS, new_price, show_in_items, take_lookup_key
from atom_stripe.testing.resources.products import PRICE_PRODUCT_DATA, new_product
from atom_stripe.testing.resources.shared import METADATA, assign

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

PRICE = price_rows.PRICE
PLAN = price_rows.PLAN


@route("POST", "/v1/prices", {**PRICE_FIELDS, "product_data": Hash(PRICE_PRODUCT_DATA)})
def create(call: Call) -> Row:
    params = call.params
    if "product" in params and "product_data" in params:
        raise exclusive("product", "product_data")
    if "product_data" in params:
        product = new_product(call, params["product_data"], "product_data[id]")
        call.emit("product.created", product)
    elif "product" in params:
        product = call.find("product", params["product"], "product")
    else:
        raise missing("product")
    return new_price(call, params, product["id"])


@route(
    "GET",
    "/v1/prices",
    {
        **PAGE,
        "active": Boolean(),
        "created": CREATED,
        "currency": Currency(),
        "lookup_keys": ListOf(Text(unsettable=False)),
        "product": Id(),
        "recurring": Hash({"interval": Choice(("day", "month", "week", "year"))}),
        "type": Choice(("one_time", "recurring")),
    },
)
def list_all(call: Call) -> Row:
    params = call.params
    return page(
        call.rows("price"),
        params,
        kind="price",
        url=call.path,
        where=lambda row: (
            equal(row, params, "active", "currency", "product", "type")
            and row["lookup_key"] in params.get("lookup_keys", [row["lookup_key"]])
            and equal(row["recurring"] or {}, params.get("recurring", {}), "interval")
            and within(row["created"], params.get("created"))
        ),
    )


@route("GET", "/v1/prices/{price}")
def retrieve(call: Call) -> Row:
    return call.find("price", call.arguments["price"])


@route(
    "POST",
    "/v1/prices/{price}",
    {
        "active": Boolean(),
        "lookup_key": Text(longest=200, unsettable=False),
        "nickname": Text(),
        "tax_behavior": Choice(("exclusive", "inclusive", "unspecified")),
        "transfer_lookup_key": Boolean(),
        **METADATA,
    },
)
def update(call: Call) -> Row:
    # What it costs never changes: there may be subscriptions to it.
    price = call.change(call.find("price", call.arguments["price"]))
    assign(price, call.params, "active", "nickname", "tax_behavior")
    take_lookup_key(call, price, call.params)
    if call.changed(price):
        show_in_items(call, price)
        call.emit("price.updated", price)
    return price
