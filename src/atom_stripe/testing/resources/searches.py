"""
Search. At Stripe a new object is found after a moment, up to a minute as a rule; here it is at once, or after ``sandbox.search_lag`` seconds.

Source: https://docs.stripe.com/search
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.params import Integer, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.search import Field, search

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

_SEARCH: dict[str, Parameter] = {
    "limit": Integer(least=1, most=100),
    "page": Text(unsettable=False),
    "query": Text(required=True, unsettable=False),
}
_TOKEN, _STRING, _NUMBER = Field(), Field("string"), Field("number")
_PAYMENT = {"amount": _NUMBER, "created": _NUMBER, "currency": _TOKEN, "customer": _TOKEN, "status": _TOKEN}
_CARD = dict.fromkeys(("brand", "fingerprint", "last4"), _TOKEN) | dict.fromkeys(("exp_month", "exp_year"), _NUMBER)

# What can be searched by. Source: https://docs.stripe.com/search#supported-query-fields-for-each-resource
_CUSTOMER = {"created": _NUMBER, "email": _STRING, "name": _STRING, "phone": _STRING}
_CHARGE = {
    **_PAYMENT,
    "billing_details.address.postal_code": _TOKEN,
    "disputed": _TOKEN,
    "refunded": _TOKEN,
    **{f"payment_method_details.card.{name}": field for name, field in _CARD.items()},
}
_INVOICE = {
    "created": _NUMBER,
    "currency": _TOKEN,
    "customer": _TOKEN,
    "last_finalization_error_code": Field(path="last_finalization_error.code"),
    "last_finalization_error_type": Field(path="last_finalization_error.type"),
    "number": _TOKEN,
    "receipt_number": _TOKEN,
    "status": _TOKEN,
    "subscription": Field(path="parent.subscription_details.subscription"),
    "total": _NUMBER,
}
_PRICE = {"active": _TOKEN, "currency": _TOKEN, "lookup_key": _TOKEN, "product": _TOKEN, "type": _TOKEN}
_PRODUCT = {"active": _TOKEN, "description": _STRING, "name": _STRING, "shippable": _TOKEN, "url": _STRING}
_SUBSCRIPTION = {"canceled_at": _NUMBER, "created": _NUMBER, "status": _TOKEN}


@route("GET", "/v1/customers/search", _SEARCH)
def customers(call: Call) -> Row:
    return _search(call, "customer", _CUSTOMER)


@route("GET", "/v1/payment_intents/search", _SEARCH)
def payment_intents(call: Call) -> Row:
    return _search(call, "payment_intent", _PAYMENT)


@route("GET", "/v1/charges/search", _SEARCH)
def charges(call: Call) -> Row:
    return _search(call, "charge", _CHARGE)


@route("GET", "/v1/invoices/search", _SEARCH)
def invoices(call: Call) -> Row:
    return _search(call, "invoice", _INVOICE)


@route("GET", "/v1/prices/search", _SEARCH)
def prices(call: Call) -> Row:
    return _search(call, "price", _PRICE)


@route("GET", "/v1/products/search", _SEARCH)
def products(call: Call) -> Row:
    return _search(call, "product", _PRODUCT)


@route("GET", "/v1/subscriptions/search", _SEARCH)
def subscriptions(call: Call) -> Row:
    return _search(call, "subscription", _SUBSCRIPTION)


def _search(call: Call, kind: str, fields: Mapping[str, Field]) -> Row:
    return search(call.machine.index.rows(call.account, kind, call.now), call.params, fields=fields, url=call.path)
