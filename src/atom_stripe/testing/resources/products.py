"""
Products: what is sold. What it costs is in its prices.

Source: https://docs.stripe.com/api/products
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Hash, Id, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources.price_rows import PRICE_DATA, RECURRING_DATA, new_price
from atom_stripe.testing.resources.shared import METADATA, assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

PRODUCT = Kind("product", "prod", length=14, expands={"default_price": "price"}, refuses=frozenset({"tax_code"}))

_ID = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_TEXTS = ("description", "statement_descriptor", "unit_label", "url")
_FEATURES = ListOf(Hash({"name": Text(longest=80, required=True, unsettable=False)}), unsettable=True)
_FIELDS: dict[str, Parameter] = {
    "active": Boolean(),
    "description": Text(longest=40000),
    "images": ListOf(Text(unsettable=False), unsettable=True),
    "marketing_features": _FEATURES,
    "shippable": Boolean(),
    "statement_descriptor": Text(longest=22),
    "unit_label": Text(longest=12),
    "url": Text(),
    **METADATA,
}
_NAME = {"name": Text(longest=5000, required=True, unsettable=False)}

PRODUCT_DATA: dict[str, Parameter] = {
    **_NAME,
    "description": Text(longest=40000),
    "images": ListOf(Text(unsettable=False)),
    "unit_label": Text(longest=12),
    **METADATA,
}
"""What makes a product inside a checkout session."""
PRICE_PRODUCT_DATA: dict[str, Parameter] = {
    **_NAME,
    "active": Boolean(),
    "id": Id(),
    "statement_descriptor": Text(longest=22),
    "unit_label": Text(longest=12),
    **METADATA,
}
"""What makes a product along with a price."""


def new_product(work: Transaction, params: Mapping[str, Any], param: str = "id") -> Row:
    """Make a product. *param*: where the caller's own id stands among the parameters."""
    identity = params.get("id") or work.new_id(PRODUCT)
    if not _ID.fullmatch(identity):
        raise invalid(f"{param} may have letters, digits, dots, dashes and underscores.", param)
    if work.get("product", identity):
        raise invalid(f"There is a product {identity!r} already.", param, code="resource_already_exists")
    product: Row = work.add(
        {
            "id": identity,
            "object": "product",
            "active": True,
            "created": work.now,
            "default_price": None,
            "description": None,
            "images": [],
            "livemode": False,
            "marketing_features": [],
            "metadata": {},
            "name": params["name"],
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": "service",
            "unit_label": None,
            "updated": work.now,
            "url": None,
        }
    )
    _assign(product, params)
    return product


@route(
    "POST",
    "/v1/products",
    {
        **_FIELDS,
        **_NAME,
        "default_price_data": Hash(
            {
                **{name: kind for name, kind in PRICE_DATA.items() if name != "product"},
                "recurring": Hash({**RECURRING_DATA.fields}),
                **METADATA,
            }
        ),
        "id": Id(),
        "type": Choice(("service",), beyond=("POST /v1/products", "type")),
    },
)
def create(call: Call) -> Row:
    product = new_product(call, call.params)
    data = call.params.get("default_price_data")
    if data:
        price = new_price(call, data, product["id"], "default_price_data")
        product["default_price"] = price["id"]
    # The price belongs to it, and names it: the product comes first.
    call.emit("product.created", product)
    if data:
        call.happenings.insert(0, call.happenings.pop())
    return product


@route(
    "GET",
    "/v1/products",
    {
        **PAGE,
        "active": Boolean(),
        "created": CREATED,
        "ids": ListOf(Id()),
        "shippable": Boolean(),
        "url": Text(unsettable=False),
    },
)
def list_all(call: Call) -> Row:
    params = call.params
    return page(
        (row for row in call.rows("product") if not row.get("deleted")),
        params,
        kind="product",
        url=call.path,
        where=lambda row: (
            equal(row, params, "active", "shippable", "url")
            and row["id"] in params.get("ids", [row["id"]])
            and within(row["created"], params.get("created"))
        ),
    )


@route("GET", "/v1/products/{id}")
def retrieve(call: Call) -> Row:
    identity = call.arguments["id"]
    deleted = call.account.table("product").get(identity)
    return deleted if deleted is not None else call.find("product", identity)


@route("POST", "/v1/products/{id}", {**_FIELDS, "default_price": Id(unsettable=True), "name": Text(longest=5000, unsettable=False)})
def update(call: Call) -> Row:
    product = call.change(call.find("product", call.arguments["id"]))
    _assign(product, call.params)
    assign(product, call.params, "name")
    if "default_price" in call.params:
        default = call.params["default_price"]
        if default and call.find("price", default, "default_price")["product"] != product["id"]:
            raise invalid("The default price must be a price of the product.", "default_price")
        product["default_price"] = default
    if call.changed(product):
        product["updated"] = call.now
        call.emit("product.updated", product)
    return product


@route("DELETE", "/v1/products/{id}")
def delete(call: Call) -> Row:
    product = call.find("product", call.arguments["id"])
    # What was sold stays known. Source: https://docs.stripe.com/api/products/delete
    if any(price["product"] == product["id"] for price in call.rows("price")):
        raise invalid("The product has prices and cannot be deleted; set active=false instead.")
    call.emit("product.deleted", product)
    identity = call.change(product)["id"]
    product.clear()
    product.update(id=identity, object="product", deleted=True)
    return product


def _assign(product: Row, params: Mapping[str, Any]) -> None:
    assign(product, params, "active", "shippable", *_TEXTS)
    for name in ("images", "marketing_features"):
        if name in params:
            product[name] = params[name] or []
