"""Invoices, and the pages of Stripe's where customers pay, subscribe, leave a card and look after what they have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictInt, StringConstraints, model_validator

from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import (
    Currency,
    CustomerId,
    Email,
    Input,
    Metadata,
    Page,
    PaymentMethodId,
    PriceId,
    ProductId,
    Quantity,
    ShortText,
    SubscriptionId,
    Text,
    UnitAmount,
    Url,
    check_amount,
)
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.problems import Problem
from atom_stripe.service.routes.connecting import navigates
from atom_stripe.service.routes.listing import listed

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange

_API = "https://docs.stripe.com/api"
INVOICE = schemas.stripe(
    "invoice",
    {
        "amount_due": schemas.MINOR,
        "amount_paid": schemas.MINOR,
        "amount_remaining": schemas.MINOR,
        "total": schemas.MINOR,
        "currency": schemas.CURRENCY,
        "customer": schemas.REFERENCE,
        "status": schemas.MAYBE,
        "number": schemas.MAYBE,
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source=f"{_API}/invoices/object",
)
CHECKOUT_SESSION = schemas.stripe(
    "checkout.session",
    {
        "mode": schemas.TEXT,
        "status": schemas.MAYBE,
        "payment_status": schemas.TEXT,
        "amount_total": schemas.MAYBE_MINOR,
        "currency": schemas.MAYBE,
        "customer": schemas.REFERENCE,
        "url": {**schemas.MAYBE, "description": "Stripe's page, as long as the session is open. Send the customer there."},
        "expires_at": schemas.TIME,
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source=f"{_API}/checkout/sessions/object",
)
PORTAL_SESSION = schemas.stripe(
    "billing_portal.session",
    {
        "customer": schemas.REFERENCE,
        "return_url": schemas.MAYBE,
        "url": {
            **schemas.TEXT,
            "description": "Stripe's page. It opens the customer's subscriptions to whoever has it; use it at once.",
        },
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source=f"{_API}/customer_portal/sessions/object",
)
SETUP_INTENT = schemas.stripe(
    "setup_intent",
    {
        "status": schemas.TEXT,
        "customer": schemas.REFERENCE,
        "payment_method": schemas.REFERENCE,
        "usage": schemas.TEXT,
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source=f"{_API}/setup_intents/object",
)
_PDF = schemas.record({"url": {**schemas.TEXT, "description": "Whoever has it can read the invoice."}})

# What may stand in a Location header.
_LOCATION = re.compile(r"https?://[\x21-\x7e]{1,4096}")
# Three years. https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-line_items-price_data-recurring
_LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}
# https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-line_items
_MOST_ITEMS = 100
_MOST_OF_A_KIND = 20


class InvoicesQuery(Page):
    """Which invoices."""

    customer: CustomerId | None = None
    subscription: SubscriptionId | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None


class Recurring(Input):
    """How often a price is paid: every *interval_count* intervals, for three years at most."""

    interval: Literal["day", "week", "month", "year"]
    interval_count: Annotated[StrictInt, Field(ge=1, le=1095)] | None = None

    @model_validator(mode="after")
    def _short(self) -> Self:
        if (self.interval_count or 1) > _LONGEST[self.interval]:
            msg = "an interval is three years at most"
            raise ValueError(msg)
        return self


class ProductData(Input):
    """A product that is sold once, under this *name*."""

    name: ShortText
    description: Text | None = None
    metadata: Metadata | None = None


class PriceData(Input):
    """A price that is made for one session."""

    currency: Currency
    unit_amount: UnitAmount
    product: ProductId | None = None
    product_data: ProductData | None = None
    recurring: Recurring | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.product is None) is (self.product_data is None):
            msg = "a price is of either a product or product_data"
            raise ValueError(msg)
        check_amount(self.unit_amount, self.currency)
        return self


class LineItem(Input):
    """What is sold: *quantity* of a price. Only a metered *price* has no quantity."""

    price: PriceId | None = None
    price_data: PriceData | None = None
    quantity: Quantity | None = None

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if (self.price is None) is (self.price_data is None):
            msg = "an item has either a price or price_data"
            raise ValueError(msg)
        if self.price_data is not None and self.quantity is None:
            msg = "price_data goes with a quantity"
            raise ValueError(msg)
        return self


class NewCheckoutSession(Input):
    """
    A session on Stripe's page: to pay, to subscribe, or to leave a card for later (``setup``, which needs the *currency* of what will be paid).

    ``{CHECKOUT_SESSION_ID}`` in *success_url* becomes the session's id.

    Source: https://docs.stripe.com/api/checkout/sessions/create
    """

    mode: Literal["payment", "subscription", "setup"]
    success_url: Url
    cancel_url: Url | None = None
    line_items: Annotated[list[LineItem], Field(min_length=1, max_length=_MOST_ITEMS)] | None = None
    customer: CustomerId | None = None
    customer_email: Email | None = None
    client_reference_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    metadata: Metadata | None = None
    allow_promotion_codes: StrictBool | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for wrong in (self._wrong_items(), self._wrong_currency()):
            if wrong:
                raise ValueError(wrong)
        if self.customer is not None and self.customer_email is not None:
            msg = "a session is for either a customer or a customer_email"
            raise ValueError(msg)
        if self.mode == "setup" and self.allow_promotion_codes is not None:
            msg = "allow_promotion_codes is for payments and subscriptions"
            raise ValueError(msg)
        return self

    def _wrong_items(self) -> str | None:
        items = self.line_items
        if self.mode == "setup":
            return "a session in setup mode sells nothing: leave line_items out" if items else None
        if not items:
            return "a session in payment or subscription mode needs line_items"
        # What a price that is only named is like, Stripe knows.
        made = [item.price_data.recurring is not None for item in items if item.price_data is not None]
        if self.mode == "payment":
            return "recurring prices are for mode subscription" if any(made) else None
        if len(made) == len(items) and not any(made):
            return "a session in subscription mode needs a recurring price"
        if len(items) > 2 * _MOST_OF_A_KIND or made.count(True) > _MOST_OF_A_KIND or made.count(False) > _MOST_OF_A_KIND:
            return f"a session in subscription mode has {_MOST_OF_A_KIND} recurring and {_MOST_OF_A_KIND} other line_items at most"
        return None

    def _wrong_currency(self) -> str | None:
        if self.mode == "setup" and self.currency is None:
            return "a session in setup mode needs a currency"
        named = {item.price_data.currency for item in self.line_items or () if item.price_data is not None}
        if self.currency is not None:
            named.add(self.currency)
        return "a session has one currency" if len(named) > 1 else None


class NewPortalSession(Input):
    """
    A session of the billing portal, for one customer. Without *configuration*, the default one.

    Source: https://docs.stripe.com/api/customer_portal/sessions/create
    """

    customer: CustomerId
    return_url: Url
    configuration: Annotated[str, StringConstraints(pattern=r"^bpc_[A-Za-z0-9_]{1,240}$")] | None = None


class NewSetupIntent(Input):
    """
    A payment method to keep for later. A browser confirms it with its ``client_secret``.

    *usage*: ``off_session``, which is Stripe's default, if it will also be charged while the customer is away.

    Source: https://docs.stripe.com/api/setup_intents/create
    """

    customer: CustomerId | None = None
    payment_method: PaymentMethodId | None = None
    usage: Literal["off_session", "on_session"] | None = None
    description: Text | None = None
    metadata: Metadata | None = None


async def list_invoices(exchange: Exchange) -> Answer:
    return await listed(exchange, exchange.stripe.invoices)


async def get_invoice(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.invoices.retrieve(exchange.id))))


async def get_invoice_pdf(exchange: Exchange) -> Answer:
    """Stripe keeps the file; a browser is sent there."""
    found = await settled(exchange.stripe.invoices.retrieve(exchange.id))
    url: Any = found.to_dict().get("invoice_pdf")
    if url is None:
        raise Problem(409, "no_pdf", "This invoice has no PDF yet: Stripe makes it when the invoice is final.")
    if not isinstance(url, str) or not _LOCATION.fullmatch(url):
        raise Problem(502, "stripe_failed", "Stripe named no usable place for the PDF.", request_id=found.request_id)
    if navigates(exchange.request):
        return Answer(status=302, headers={"Location": url})
    return Answer(content={"url": url})


async def create_checkout_session(exchange: Exchange) -> Answer:
    made = await settled(exchange.stripe.checkout.sessions.create(**exchange.body.params(), **exchange.options))
    return Answer(status=201, content=exchange.content(made, secret=True))


async def get_checkout_session(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.checkout.sessions.retrieve(exchange.id))))


async def create_portal_session(exchange: Exchange) -> Answer:
    made = await settled(exchange.stripe.billing_portal.sessions.create(**exchange.body.params(), **exchange.options))
    return Answer(status=201, content=exchange.content(made))


async def create_setup_intent(exchange: Exchange) -> Answer:
    made = await settled(
        exchange.stripe.setup_intents.create(
            **exchange.body.params(), automatic_payment_methods={"enabled": True}, **exchange.options
        )
    )
    return Answer(status=201, content=exchange.content(made, secret=True))


async def get_setup_intent(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.setup_intents.retrieve(exchange.id))))


OPERATIONS = (
    Operation(
        name="list_invoices",
        method="GET",
        path="/invoices",
        summary="List invoices",
        handle=list_invoices,
        query=InvoicesQuery,
        schema=schemas.page(INVOICE),
    ),
    Operation(
        name="get_invoice",
        method="GET",
        path="/invoices/{id}",
        summary="Get an invoice",
        handle=get_invoice,
        prefixes=("in_",),
        schema=INVOICE,
    ),
    Operation(
        name="get_invoice_pdf",
        method="GET",
        path="/invoices/{id}/pdf",
        summary="Get an invoice as PDF",
        description="A browser is sent to the file; a script gets its URL. 409 if there is none yet, as of a draft.",
        handle=get_invoice_pdf,
        prefixes=("in_",),
        schema=_PDF,
        redirects=True,
    ),
    Operation(
        name="create_checkout_session",
        method="POST",
        path="/checkout/sessions",
        summary="Let a customer pay, subscribe or leave a card on Stripe's page",
        handle=create_checkout_session,
        body=NewCheckoutSession,
        status=201,
        schema=CHECKOUT_SESSION,
    ),
    Operation(
        name="get_checkout_session",
        method="GET",
        path="/checkout/sessions/{id}",
        summary="Get a checkout session",
        handle=get_checkout_session,
        prefixes=("cs_",),
        schema=CHECKOUT_SESSION,
    ),
    Operation(
        name="create_portal_session",
        method="POST",
        path="/billing-portal/sessions",
        summary="Let a customer look after subscriptions and cards on Stripe's page",
        handle=create_portal_session,
        body=NewPortalSession,
        status=201,
        schema=PORTAL_SESSION,
    ),
    Operation(
        name="create_setup_intent",
        method="POST",
        path="/setup-intents",
        summary="Keep a payment method for later",
        handle=create_setup_intent,
        body=NewSetupIntent,
        status=201,
        schema=SETUP_INTENT,
        failures=(402,),
    ),
    Operation(
        name="get_setup_intent",
        method="GET",
        path="/setup-intents/{id}",
        summary="Get a setup intent",
        handle=get_setup_intent,
        prefixes=("seti_",),
        schema=SETUP_INTENT,
    ),
)
