"""
Search. At Stripe a new object is found after a moment, up to a minute as a rule; here it is found at once.

Source: https://docs.stripe.com/search
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.params import Integer, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.search import search

if TYPE_CHECKING:
    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

_SEARCH: dict[str, Parameter] = {
    "limit": Integer(least=1, most=100),
    "page": Text(unsettable=False),
    "query": Text(required=True, unsettable=False),
}
_PAYMENT_FIELDS = ("amount", "created", "currency", "customer", "status")


@route("GET", "/v1/customers/search", _SEARCH)
def customers(call: Call) -> Row:
    rows = (row for row in call.rows("customer") if not row.get("deleted"))
    return search(rows, call.params, fields=("created", "email", "name", "phone"), url=call.path)


@route("GET", "/v1/payment_intents/search", _SEARCH)
def payment_intents(call: Call) -> Row:
    return search(call.rows("payment_intent"), call.params, fields=_PAYMENT_FIELDS, url=call.path)


@route("GET", "/v1/charges/search", _SEARCH)
def charges(call: Call) -> Row:
    fields = (*_PAYMENT_FIELDS, "disputed", "refunded", "payment_method_details.card.brand", "payment_method_details.card.last4")
    return search(call.rows("charge"), call.params, fields=fields, url=call.path)
