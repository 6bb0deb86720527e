"""
The payment methods that a customer keeps, under the customer's own path.

Source: https://docs.stripe.com/api/payment_methods/customer_list
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import no_such
from atom_stripe.testing._state.pages import PAGE, equal, page
from atom_stripe.testing._state.routing import route
from atom_stripe.testing.resources.payment_methods import REDISPLAY, TYPE

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row


@route("GET", "/v1/customers/{customer}/payment_methods", {**PAGE, "allow_redisplay": REDISPLAY, "type": TYPE})
def list_all(call: Call) -> Row:
    customer = call.find("customer", call.arguments["customer"])
    return page(
        call.rows("payment_method"),
        call.params,
        kind="payment_method",
        url=call.path,
        where=lambda row: row["customer"] == customer["id"] and equal(row, call.params, "type", "allow_redisplay"),
    )


@route("GET", "/v1/customers/{customer}/payment_methods/{payment_method}")
def retrieve(call: Call) -> Row:
    customer = call.find("customer", call.arguments["customer"])
    method = call.find("payment_method", call.arguments["payment_method"])
    if method["customer"] != customer["id"]:
        raise no_such("payment_method", method["id"])
    return method
