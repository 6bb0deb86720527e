"""Payments, and giving them back. A payment is Stripe's PaymentIntent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StringConstraints, model_validator

from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import (
    Amount,
    Charged,
    ChargeId,
    CustomerId,
    Email,
    Input,
    Metadata,
    Page,
    PaymentId,
    PaymentMethodId,
    Text,
    Url,
)
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.routes.listing import listed, sifted

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange

Status = Literal[
    "requires_payment_method", "requires_confirmation", "requires_action", "processing", "requires_capture", "canceled", "succeeded"
]


class PaymentsQuery(Page):
    """Which payments."""

    customer: CustomerId | None = None
    status: Status | None = None


class NewPayment(Charged):
    """
    A payment. Without *confirm*, a browser confirms it with its ``client_secret``; with it, *payment_method* is charged now.

    Source: https://docs.stripe.com/api/payment_intents/create
    """

    customer: CustomerId | None = None
    payment_method: PaymentMethodId | None = None
    description: Text | None = None
    metadata: Metadata | None = None
    receipt_email: Email | None = None
    statement_descriptor_suffix: (
        Annotated[str, StringConstraints(min_length=1, max_length=22, pattern=r"^[^<>\\'\"*]+$")] | None
    ) = None
    capture_method: Literal["automatic", "automatic_async", "manual"] | None = None
    setup_future_usage: Literal["on_session", "off_session"] | None = None
    application_fee_amount: Annotated[Amount, Field(description="The platform's share, in the same unit.")] | None = None
    confirm: StrictBool | None = None
    off_session: StrictBool | None = None
    return_url: Annotated[Url, Field(description="Where a bank's page sends the customer back to.")] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.application_fee_amount is not None and self.application_fee_amount > self.amount:
            msg = "application_fee_amount is more than the amount"
            raise ValueError(msg)
        if not self.confirm and (self.off_session is not None or self.return_url is not None):
            msg = "off_session and return_url go with confirm"
            raise ValueError(msg)
        return self


class RefundsQuery(Page):
    """Which refunds."""

    payment_intent: PaymentId | None = None
    charge: ChargeId | None = None


class NewRefund(Input):
    """
    A refund: of what is left of the payment, or of *amount*.

    Source: https://docs.stripe.com/api/refunds/create
    """

    payment_intent: PaymentId | None = None
    charge: ChargeId | None = None
    amount: Amount | None = None
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if (self.payment_intent is None) is (self.charge is None):
            msg = "a refund is of either a payment_intent or a charge"
            raise ValueError(msg)
        return self


async def list_payments(exchange: Exchange) -> Answer:
    """Stripe's list has no filter for the status, and its search is up to a minute behind, so payments are looked through here."""
    query: PaymentsQuery = exchange.query
    service = exchange.stripe.payment_intents
    if query.status is None:
        return await listed(exchange, service)
    customer = {"customer": query.customer} if query.customer else {}
    return await sifted(exchange, service, lambda raw: raw["status"] == query.status, **customer)


async def get_payment(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.payment_intents.retrieve(exchange.id))))


async def create_payment(exchange: Exchange) -> Answer:
    params: dict[str, Any] = exchange.body.params()
    # Without a page to come back to, a method that leads away could not be completed.
    redirects = {} if params.get("return_url") or not params.get("confirm") else {"allow_redirects": "never"}
    made = await settled(
        exchange.stripe.payment_intents.create(
            **params, automatic_payment_methods={"enabled": True, **redirects}, **exchange.options
        )
    )
    return Answer(status=201, content=exchange.content(made, secret=True))


async def list_refunds(exchange: Exchange) -> Answer:
    return await listed(exchange, exchange.stripe.refunds)


async def get_refund(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.refunds.retrieve(exchange.id))))


async def create_refund(exchange: Exchange) -> Answer:
    made = await settled(exchange.stripe.refunds.create(**exchange.body.params(), **exchange.options))
    return Answer(status=201, content=exchange.content(made))


OPERATIONS = (
    Operation(
        name="list_payments",
        method="GET",
        path="/payments",
        summary="List payments",
        description="With *status*, a page can have fewer payments than *limit* although more follow.",
        handle=list_payments,
        query=PaymentsQuery,
        schema=schemas.page(schemas.PAYMENT),
    ),
    Operation(
        name="get_payment",
        method="GET",
        path="/payments/{id}",
        summary="Get a payment",
        handle=get_payment,
        prefixes=("pi_",),
        schema=schemas.PAYMENT,
    ),
    Operation(
        name="create_payment",
        method="POST",
        path="/payments",
        summary="Take a payment",
        handle=create_payment,
        body=NewPayment,
        status=201,
        schema=schemas.PAYMENT,
        failures=(402,),
    ),
    Operation(
        name="list_refunds",
        method="GET",
        path="/refunds",
        summary="List refunds",
        handle=list_refunds,
        query=RefundsQuery,
        schema=schemas.page(schemas.REFUND),
    ),
    Operation(
        name="get_refund",
        method="GET",
        path="/refunds/{id}",
        summary="Get a refund",
        handle=get_refund,
        prefixes=("re_", "pyr_"),
        schema=schemas.REFUND,
    ),
    Operation(
        name="create_refund",
        method="POST",
        path="/refunds",
        summary="Give a payment back",
        handle=create_refund,
        body=NewRefund,
        status=201,
        schema=schemas.REFUND,
        failures=(402,),
    ),
)
