"""Subscriptions: prices that a customer pays in every period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import (
    Change,
    ChangedMetadata,
    CustomerId,
    Input,
    Metadata,
    Page,
    PaymentMethodId,
    PriceId,
    Quantity,
    SubscriptionItemId,
    omitted,
)
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.routes.listing import listed

if TYPE_CHECKING:
    from pydantic import ValidationInfo

    from atom_stripe.service.exchange import Exchange

SUBSCRIPTION = schemas.stripe(
    "subscription",
    {
        "status": schemas.TEXT,
        "customer": schemas.REFERENCE,
        "items": {
            "type": "object",
            "required": ["data"],
            "properties": {"data": {"type": "array", "items": {"type": "object"}}},
        },
        "currency": schemas.CURRENCY,
        "latest_invoice": schemas.REFERENCE,
        "default_payment_method": schemas.REFERENCE,
        "cancel_at_period_end": schemas.FLAG,
        "metadata": schemas.METADATA,
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source="https://docs.stripe.com/api/subscriptions/object",
)

# "all" and "ended" are not statuses: every one of them, and the two from which nothing comes back.
Status = Literal[
    "active",
    "all",
    "canceled",
    "ended",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
]

# What a browser pays a first invoice with, or sets a card up with where nothing is due yet.
_COMPLETION = ["latest_invoice.confirmation_secret", "pending_setup_intent"]
_MOST_ITEMS = 20


class SubscriptionsQuery(Page):
    """Which subscriptions. Without *status*, those that have not ended."""

    customer: CustomerId | None = None
    price: PriceId | None = None
    status: Status | None = None


class NewItem(Input):
    """A price, and how many of it; one, if it does not say."""

    price: PriceId
    quantity: Quantity | None = None


class PaymentSettings(Input):
    """Whether the payment method of a payment that succeeded becomes the subscription's default."""

    save_default_payment_method: Literal["off", "on_subscription"]


class NewSubscription(Input):
    """
    A subscription. As a rule a browser pays the first invoice, with ``latest_invoice.confirmation_secret`` of the answer; while nothing is due, it
    sets a card up with ``pending_setup_intent``. With another *payment_behavior*, the default payment method is charged at once.

    Without *default_payment_method* and *payment_settings*, what pays the first invoice pays the following ones too. With ``send_invoice``, the
    customer gets invoices to pay within *days_until_due*.

    Source: https://docs.stripe.com/api/subscriptions/create
    """

    customer: CustomerId
    items: Annotated[list[NewItem], Field(min_length=1, max_length=_MOST_ITEMS)]
    default_payment_method: PaymentMethodId | None = None
    trial_period_days: Annotated[StrictInt, Field(ge=1, le=730)] | None = None
    cancel_at_period_end: StrictBool | None = None
    payment_behavior: (
        Annotated[
            Literal["allow_incomplete", "default_incomplete", "error_if_incomplete"],
            Field(description='Left out, "default_incomplete": a browser completes the first payment.'),
        ]
        | None
    ) = None
    payment_settings: PaymentSettings | None = None
    collection_method: Literal["charge_automatically", "send_invoice"] | None = None
    days_until_due: Annotated[StrictInt, Field(ge=0, le=730)] | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        sends = self.collection_method == "send_invoice"
        if sends != (self.days_until_due is not None):
            msg = "days_until_due goes with collection_method send_invoice, and with no other"
            raise ValueError(msg)
        if sends and (self.payment_behavior or self.payment_settings or self.default_payment_method):
            msg = "payment_behavior, payment_settings and default_payment_method are for what is charged automatically"
            raise ValueError(msg)
        _check_distinct([item.price for item in self.items], "price")
        return self

    def params(self) -> dict[str, Any]:
        """Return what was given, as the client takes it."""
        params = super().params()
        if self.collection_method == "send_invoice":
            return params
        params.setdefault("payment_behavior", "default_incomplete")
        if "default_payment_method" not in params:
            # Otherwise the first payment succeeds and the second finds nothing to pay with.
            params.setdefault("payment_settings", {"save_default_payment_method": "on_subscription"})
        return params


class ChangedItem(Input):
    """
    A change of one item: with *id* of an item that there is, without one of a new item beside it.

    *quantity* is required with another price, because Stripe would begin again at one.

    Source: https://docs.stripe.com/api/subscriptions/update
    """

    id: SubscriptionItemId = Field(default_factory=omitted)
    price: PriceId = Field(default_factory=omitted)
    quantity: Quantity = Field(default_factory=omitted)
    deleted: StrictBool = Field(default_factory=omitted)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.model_fields_set
        if "deleted" in given and not (self.deleted and given == {"id", "deleted"}):
            msg = "deleted is true, or left out; it goes with an id and nothing else"
            raise ValueError(msg)
        if "id" not in given and "price" not in given:
            msg = "an item has an id, or is new and has a price"
            raise ValueError(msg)
        if given == {"id"}:
            msg = "an item says what changes: price and quantity, quantity or deleted"
            raise ValueError(msg)
        if {"id", "price"} <= given and "quantity" not in given:
            msg = "with another price, say the quantity too: Stripe would begin again at one"
            raise ValueError(msg)
        return self


class ChangedSubscription(Change):
    """
    What is to change about a subscription: what is not there stays as it is, items included.

    *default_payment_method*: null clears it, and the customer's counts. *proration_behavior*: left out, Stripe puts what differs on the next
    invoice. *payment_behavior*: what happens if a change has to be paid now and cannot be; ``"error_if_incomplete"`` leaves all as it was.

    Source: https://docs.stripe.com/api/subscriptions/update
    """

    items: Annotated[list[ChangedItem], Field(min_length=1, max_length=_MOST_ITEMS)] = Field(default_factory=omitted)
    default_payment_method: PaymentMethodId | None = None
    cancel_at_period_end: StrictBool = Field(default_factory=omitted)
    proration_behavior: Literal["always_invoice", "create_prorations", "none"] = Field(default_factory=omitted)
    payment_behavior: Literal["allow_incomplete", "error_if_incomplete"] = Field(default_factory=omitted)
    metadata: ChangedMetadata | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.model_fields_set
        if "items" not in given and given & {"proration_behavior", "payment_behavior"}:
            msg = "proration_behavior and payment_behavior go with items"
            raise ValueError(msg)
        if "items" in given:
            _check_distinct([item.id for item in self.items if item.id], "id")
        return self


class Ending(Input):
    """How a subscription ends: at once, or with the period that is paid for."""

    at_period_end: bool = False
    invoice_now: Annotated[bool, Field(description="Whether what is not invoiced yet is invoiced now.")] | None = None
    prorate: Annotated[bool, Field(description="Whether the rest of the period is credited.")] | None = None

    @field_validator("invoice_now", "prorate")
    @classmethod
    def _only_now(cls, value: bool | None, info: ValidationInfo) -> bool | None:  # noqa: FBT001 - pydantic's signature
        if value is not None and info.data.get("at_period_end"):
            msg = "it is for a subscription that ends now, and not at_period_end"
            raise ValueError(msg)
        return value


def _check_distinct(values: list[str], name: str) -> None:
    if len(set(values)) < len(values):
        msg = f"two items have the same {name}"
        raise ValueError(msg)


async def list_subscriptions(exchange: Exchange) -> Answer:
    return await listed(exchange, exchange.stripe.subscriptions)


async def get_subscription(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.subscriptions.retrieve(exchange.id))))


async def create_subscription(exchange: Exchange) -> Answer:
    made = await settled(exchange.stripe.subscriptions.create(**exchange.body.params(), expand=_COMPLETION, **exchange.options))
    return Answer(status=201, content=exchange.content(made, secret=True))


async def update_subscription(exchange: Exchange) -> Answer:
    changed = await settled(exchange.stripe.subscriptions.update(exchange.id, **exchange.body.params(), **exchange.options))
    return Answer(content=exchange.content(changed))


async def cancel_subscription(exchange: Exchange) -> Answer:
    query: Ending = exchange.query
    service = exchange.stripe.subscriptions
    if query.at_period_end:
        ended = await settled(service.update(exchange.id, cancel_at_period_end=True))
    else:
        ended = await settled(service.cancel(exchange.id, invoice_now=query.invoice_now, prorate=query.prorate))
    return Answer(content=exchange.content(ended))


OPERATIONS = (
    Operation(
        name="list_subscriptions",
        method="GET",
        path="/subscriptions",
        summary="List subscriptions",
        description='Without *status*, those that have not ended; "all" lists every one.',
        handle=list_subscriptions,
        query=SubscriptionsQuery,
        schema=schemas.page(SUBSCRIPTION),
    ),
    Operation(
        name="get_subscription",
        method="GET",
        path="/subscriptions/{id}",
        summary="Get a subscription",
        handle=get_subscription,
        prefixes=("sub_",),
        schema=SUBSCRIPTION,
    ),
    Operation(
        name="create_subscription",
        method="POST",
        path="/subscriptions",
        summary="Subscribe a customer",
        description=(
            "The answer holds latest_invoice.confirmation_secret, with which a browser pays the first invoice, or pending_setup_intent, with "
            "which it sets a card up where nothing is due yet. Both are here and nowhere else."
        ),
        handle=create_subscription,
        body=NewSubscription,
        status=201,
        schema=SUBSCRIPTION,
        failures=(402,),
    ),
    Operation(
        name="update_subscription",
        method="POST",
        path="/subscriptions/{id}",
        summary="Change a subscription",
        description=(
            "What is not in the body stays as it is. Null clears default_payment_method or metadata, or one name of the metadata; nothing else can "
            "be null."
        ),
        handle=update_subscription,
        prefixes=("sub_",),
        body=ChangedSubscription,
        schema=SUBSCRIPTION,
        failures=(402,),
    ),
    Operation(
        name="cancel_subscription",
        method="DELETE",
        path="/subscriptions/{id}",
        summary="End a subscription",
        description=(
            "At once, or with its period. One that has ended is not found. Until the period is over, POST with cancel_at_period_end false "
            "lets it go on."
        ),
        handle=cancel_subscription,
        prefixes=("sub_",),
        query=Ending,
        schema=SUBSCRIPTION,
    ),
)
