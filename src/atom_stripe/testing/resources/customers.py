"""
Customers.

Source: https://docs.stripe.com/api/customers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Choice, Hash, Id, Integer, ListOf, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import payment_methods, subscription_ends
from atom_stripe.testing.resources.shared import ADDRESS, METADATA, address, assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

CUSTOMER = Kind(
    "customer",
    "cus",
    length=14,
    expands={"invoice_settings.default_payment_method": "payment_method"},
    refuses=frozenset({"cash_balance", "default_source", "sources", "subscriptions", "tax", "tax_ids", "test_clock"}),
)

_FIELDS: dict[str, Parameter] = {
    "address": Hash(ADDRESS, unsettable=True),
    "balance": Integer(),
    "business_name": Text(longest=150),
    "description": Text(),
    "email": Text(longest=512),
    "individual_name": Text(longest=150),
    "invoice_prefix": Text(longest=12),
    "invoice_settings": Hash({"default_payment_method": Id(unsettable=True), "footer": Text()}),
    "name": Text(longest=256),
    "next_invoice_sequence": Integer(least=1),
    "phone": Text(longest=20),
    "preferred_locales": ListOf(Text(longest=20), unsettable=True),
    "shipping": Hash(
        {"address": Hash(ADDRESS, required=True), "name": Text(required=True, unsettable=False), "phone": Text()}, unsettable=True
    ),
    "tax_exempt": Choice(("none", "exempt", "reverse"), unsettable=True),
    **METADATA,
}


@route("POST", "/v1/customers", {**_FIELDS, "payment_method": Id()})
def create(call: Call) -> Row:
    return new_customer(call, call.params)


def new_customer(work: Transaction, params: dict[str, Any]) -> Row:
    """Make a customer: for a request or a checkout session."""
    prefix = work.ids.token("invoice_prefix", 8).upper()
    customer: Row = {
        "id": work.new_id(CUSTOMER),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": work.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": prefix,
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    work.add(customer)
    method = params.get("payment_method")
    if method:
        attached = payment_methods.attach_to(work, payment_methods.resolve(work, method, "payment_method"), customer["id"])
        # A magic id names another payment method each time; the default has to be the one that was attached.
        if params.get("invoice_settings", {}).get("default_payment_method") == method:
            params["invoice_settings"]["default_payment_method"] = attached["id"]
    _assign(work, customer, params)
    work.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers", {**PAGE, "created": CREATED, "email": Text(longest=512, unsettable=False)})
def list_all(call: Call) -> Row:
    return page(
        (row for row in call.rows("customer") if not row.get("deleted")),
        call.params,
        kind="customer",
        url=call.path,
        # Case counts. Source: https://docs.stripe.com/api/customers/list
        where=lambda row: equal(row, call.params, "email") and within(row["created"], call.params.get("created")),
    )


@route("GET", "/v1/customers/{customer}")
def retrieve(call: Call) -> Row:
    identity = call.arguments["customer"]
    # A deleted customer can still be read: its id, and that it is deleted.
    deleted = call.account.table("customer").get(identity)
    return deleted if deleted is not None else call.find("customer", identity)


@route("POST", "/v1/customers/{customer}", _FIELDS)
def update(call: Call) -> Row:
    customer = call.change(call.find("customer", call.arguments["customer"]))
    _assign(call, customer, call.params)
    if call.changed(customer):
        call.emit("customer.updated", customer)
    return customer


@route("DELETE", "/v1/customers/{customer}")
def delete(call: Call) -> Row:
    customer = call.find("customer", call.arguments["customer"])
    subscription_ends.cancel_all(call, customer["id"])
    for method in list(call.rows("payment_method")):
        if method["customer"] == customer["id"]:
            call.change(method).update(customer=None, _spent=True)
    call.emit("customer.deleted", customer)
    identity = call.change(customer)["id"]
    customer.clear()
    customer.update(id=identity, object="customer", deleted=True)
    return customer


def _assign(work: Transaction, customer: Row, params: Mapping[str, Any]) -> None:
    plain = (
        "balance",
        "business_name",
        "description",
        "email",
        "individual_name",
        "invoice_prefix",
        "name",
        "next_invoice_sequence",
        "phone",
    )
    assign(customer, params, *plain)
    if "address" in params:
        customer["address"] = address(params["address"])
    if "shipping" in params:
        sent = params["shipping"]
        customer["shipping"] = sent and {"address": address(sent["address"]), "name": sent["name"], "phone": sent.get("phone")}
    if "preferred_locales" in params:
        customer["preferred_locales"] = params["preferred_locales"] or []
    if "tax_exempt" in params:
        customer["tax_exempt"] = params["tax_exempt"] or "none"
    settings = params.get("invoice_settings", {})
    if default := settings.get("default_payment_method"):
        method = work.find("payment_method", default, "invoice_settings[default_payment_method]")
        if method["customer"] != customer["id"]:
            message = "The default payment method must belong to the customer; attach it first."
            raise invalid(message, "invoice_settings[default_payment_method]", code="resource_missing")
    customer["invoice_settings"].update(settings)
