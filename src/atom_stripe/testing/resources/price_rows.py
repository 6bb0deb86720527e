"""
Prices as they are made, on their own, with a product, or inside a subscription or a checkout session.

Source: https://docs.stripe.com/api/prices
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid, missing
from atom_stripe.testing._state.params import Boolean, Choice, Currency, Hash, Id, Integer, Text, merged
from atom_stripe.testing._state.store import Kind, copied
from atom_stripe.testing.resources.shared import METADATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

PRICE = Kind("price", "price", expands={"product": "product"})
PLAN = Kind("plan", "plan", expands={"product": "product"})

INTERVAL = Choice(("day", "month", "week", "year"), required=True)
_TAX_BEHAVIOR = Choice(("exclusive", "inclusive", "unspecified"))
# Three years. Source: https://docs.stripe.com/api/prices/create
_LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}

PRICE_DATA: dict[str, Parameter] = {
    "currency": Currency(required=True),
    "product": Id(),
    "tax_behavior": _TAX_BEHAVIOR,
    "unit_amount": Integer(least=0),
}
"""What makes a price inside something else. Those are for one use."""
RECURRING_DATA = Hash({"interval": INTERVAL, "interval_count": Integer(least=1)}, required=True)

PRICE_FIELDS: dict[str, Parameter] = {
    "active": Boolean(),
    "billing_scheme": Choice(("per_unit",), beyond=("POST /v1/prices", "billing_scheme")),
    "lookup_key": Text(longest=200, unsettable=False),
    "nickname": Text(),
    "recurring": Hash(
        {
            "interval": INTERVAL,
            "interval_count": Integer(least=1),
            "usage_type": Choice(("licensed",), beyond=("POST /v1/prices", "recurring", "usage_type")),
        }
    ),
    "transfer_lookup_key": Boolean(),
    **PRICE_DATA,
    **METADATA,
}


def new_price(work: Transaction, params: Mapping[str, Any], product: str, param: str = "") -> Row:
    """Make a price of *product*. *param*: where *params* stand among the parameters of the request."""
    if "unit_amount" not in params:
        raise missing(f"{param}[unit_amount]" if param else "unit_amount")
    recurring = params.get("recurring")
    price = work.add(
        {
            "id": work.new_id(PRICE),
            "object": "price",
            "active": params.get("active", True),
            "billing_scheme": "per_unit",
            "created": work.now,
            "currency": params["currency"],
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": merged({}, params.get("metadata", {})),
            "nickname": params.get("nickname"),
            "product": product,
            "recurring": recurring and _recurring(recurring, f"{param}[recurring]" if param else "recurring"),
            "tax_behavior": params.get("tax_behavior", "unspecified"),
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": params["unit_amount"],
            "unit_amount_decimal": str(params["unit_amount"]),
        }
    )
    take_lookup_key(work, price, params)
    work.emit("price.created", price)
    return price


def take_lookup_key(work: Transaction, price: Row, params: Mapping[str, Any]) -> None:
    """Give *price* the lookup key that was sent. Another price loses it only if the caller says so."""
    key = params.get("lookup_key")
    if key is None:
        return
    for other in work.rows("price"):
        if other["lookup_key"] == key and other is not price:
            if not params.get("transfer_lookup_key"):
                message = f"The price {other['id']} already uses that lookup key; send transfer_lookup_key=true to move it."
                raise invalid(message, "lookup_key")
            work.change(other)["lookup_key"] = None
            show_in_items(work, other)
            work.emit("price.updated", other)
    price["lookup_key"] = key


def show_in_items(work: Transaction, price: Row) -> None:
    """Let the items of subscriptions show a price as it now is: they have it in full."""
    for subscription in work.rows("subscription"):
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == price["id"]:
                work.change(subscription)
                item.update(plan=plan_of(price), price=copied(price))


def resolve_price(work: Transaction, sent: Mapping[str, Any], param: str) -> Row:
    """Return the price that an item names, or make the one that it describes."""
    if "price" in sent and "price_data" in sent:
        raise invalid(f"Send {param}[price] or {param}[price_data], not both.", f"{param}[price_data]", code="parameters_exclusive")
    if "price_data" in sent:
        data = sent["price_data"]
        if "product" not in data:
            raise missing(f"{param}[price_data][product]")
        product = work.find("product", data["product"], f"{param}[price_data][product]")
        return new_price(work, {**data, "active": False}, product["id"], f"{param}[price_data]")
    if "price" not in sent:
        raise missing(f"{param}[price]")
    if isinstance(sent["price"], dict):
        # A checkout session has looked it up, when it could be chosen.
        return sent["price"]
    price = work.find("price", sent["price"], f"{param}[price]")
    if not price["active"]:
        raise invalid(f"The price {price['id']} is not active.", f"{param}[price]", code="price_inactive")
    return price


def plan_of(price: Row) -> Row:
    """Return a recurring price as the plan that items of subscriptions still show."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": copied(price["metadata"]),
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _recurring(sent: Mapping[str, Any], param: str) -> Row:
    count = sent.get("interval_count", 1)
    if count > _LONGEST[sent["interval"]]:
        raise invalid("The interval may be up to three years.", f"{param}[interval_count]")
    return {
        "interval": sent["interval"],
        "interval_count": count,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }
