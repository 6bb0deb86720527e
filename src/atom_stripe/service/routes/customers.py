"""Customers: who pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import (
    Address,
    Change,
    ChangedMetadata,
    Email,
    Input,
    Metadata,
    Page,
    PaymentMethodId,
    ShortText,
    cleared,
    omitted,
)
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.problems import Problem
from atom_stripe.service.routes.listing import listed

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange


def _somewhere(address: Address) -> Address:
    if not address.params():
        msg = "an address has at least one part"
        raise ValueError(msg)
    return address


_Address = Annotated[Address, AfterValidator(_somewhere)]
_Phone = Annotated[str, StringConstraints(min_length=1, max_length=20)]
_Description = Annotated[str, StringConstraints(min_length=1, max_length=5000)]
_Locales = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", max_length=20)]],
    Field(min_length=1, max_length=10, description="The customer's languages, the preferred one first."),
]


class CustomersQuery(Page):
    """Which customers."""

    email: Annotated[Email, Field(description="The whole address; upper and lower case differ.")] | None = None


class NewCustomer(Input):
    """
    A customer; nothing is required. *payment_method* is attached, but invoices are paid with it only once it is the default.

    Source: https://docs.stripe.com/api/customers/create
    """

    email: Email | None = None
    name: ShortText | None = None
    phone: _Phone | None = None
    description: _Description | None = None
    address: _Address | None = None
    preferred_locales: _Locales | None = None
    payment_method: PaymentMethodId | None = None
    metadata: Metadata | None = None


class ChangedCustomer(Change):
    """
    What is to change about a customer: what is not there stays as it is, and null clears it. An address is replaced as a whole.

    *default_payment_method*: what invoices and subscriptions without one of their own are paid with; attached to this customer.

    Source: https://docs.stripe.com/api/customers/update
    """

    email: Email | None = None
    name: ShortText | None = None
    phone: _Phone | None = None
    description: _Description | None = None
    address: _Address | None = None
    preferred_locales: _Locales = Field(default_factory=omitted)
    default_payment_method: PaymentMethodId | None = None
    metadata: ChangedMetadata | None = None

    def params(self) -> dict[str, Any]:
        """Return what was given, as the client takes it."""
        params = super().params()
        if self.address is not None:
            # All of it, so that no part of the old address is left between those of the new one.
            params["address"] = cleared(self.address.model_dump())
        if "default_payment_method" in params:
            params["invoice_settings"] = {"default_payment_method": params.pop("default_payment_method")}
        return params


async def list_customers(exchange: Exchange) -> Answer:
    return await listed(exchange, exchange.stripe.customers)


async def get_customer(exchange: Exchange) -> Answer:
    found = await settled(exchange.stripe.customers.retrieve(exchange.id))
    return Answer(content=existing(exchange.content(found)))


async def create_customer(exchange: Exchange) -> Answer:
    params: dict[str, Any] = exchange.body.params()
    # An empty object says nothing, and a form cannot carry it.
    made = await settled(exchange.stripe.customers.create(**params, **exchange.options))
    return Answer(status=201, content=exchange.content(made))


async def update_customer(exchange: Exchange) -> Answer:
    changed = await settled(exchange.stripe.customers.update(exchange.id, **exchange.body.params(), **exchange.options))
    return Answer(content=exchange.content(changed))


def existing(raw: dict[str, Any]) -> dict[str, Any]:
    """
    Return *raw*, an object that Stripe has.

    Of a deleted customer or product Stripe still says its id, and nothing that a caller could use.

    Raises:
        Problem: 404; it was deleted.
    """
    if raw.get("deleted"):
        raise Problem(404, "not_found", "It was deleted.")
    return raw


OPERATIONS = (
    Operation(
        name="list_customers",
        method="GET",
        path="/customers",
        summary="List customers",
        handle=list_customers,
        query=CustomersQuery,
        schema=schemas.page(schemas.CUSTOMER),
    ),
    Operation(
        name="get_customer",
        method="GET",
        path="/customers/{id}",
        summary="Get a customer",
        description="A deleted customer is not found.",
        handle=get_customer,
        prefixes=("cus_",),
        schema=schemas.CUSTOMER,
    ),
    Operation(
        name="create_customer",
        method="POST",
        path="/customers",
        summary="Make a customer",
        handle=create_customer,
        body=NewCustomer,
        status=201,
        schema=schemas.CUSTOMER,
        failures=(402,),
    ),
    Operation(
        name="update_customer",
        method="POST",
        path="/customers/{id}",
        summary="Change a customer",
        description=(
            "What is not in the body stays as it is; null clears it. An address is replaced as a whole. Of metadata, names that are not there "
            "stay, null or an empty text removes one, and null in place of the metadata removes all."
        ),
        handle=update_customer,
        prefixes=("cus_",),
        body=ChangedCustomer,
        schema=schemas.CUSTOMER,
    ),
)
