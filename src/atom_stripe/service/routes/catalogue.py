"""What is sold: products, and the prices they have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, StringConstraints, model_validator

from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import Currency, Input, Metadata, Page, ProductId, Text, UnitAmount, Url, check_amount
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.problems import Problem
from atom_stripe.service.routes.customers import existing
from atom_stripe.service.routes.listing import listed

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange

_API = "https://docs.stripe.com/api"
PRODUCT = schemas.stripe(
    "product",
    {
        "name": schemas.TEXT,
        "active": schemas.FLAG,
        "description": schemas.MAYBE,
        "images": {"type": "array", "items": schemas.TEXT},
        "metadata": schemas.METADATA,
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source=f"{_API}/products/object",
)
PRICE = schemas.stripe(
    "price",
    {
        "product": schemas.REFERENCE,
        "currency": schemas.CURRENCY,
        "unit_amount": schemas.MAYBE_MINOR,
        "type": {"enum": ["one_time", "recurring"]},
        "recurring": {"type": ["object", "null"]},
        "active": schemas.FLAG,
        "nickname": schemas.MAYBE,
        "metadata": schemas.METADATA,
        "created": schemas.TIME,
        "livemode": schemas.FLAG,
    },
    source=f"{_API}/prices/object",
)

# Accounts choose the ids of their products, and once chose those of their plans, which are prices now.
_CHOSEN = r"[A-Za-z0-9_.-]{1,255}"
_LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}


class CataloguePage(Page):
    """Which part of a list whose objects can have ids of the account's choice."""

    cursor: Annotated[str, StringConstraints(pattern=f"^{_CHOSEN}$")] | None = None
    active: bool | None = None


class PricesQuery(CataloguePage):
    """Which prices."""

    product: ProductId | None = None


class Recurring(Input):
    """How often a price is paid: every *interval_count* intervals, three years at most."""

    interval: Literal["day", "week", "month", "year"]
    interval_count: Annotated[StrictInt, Field(ge=1, le=max(_LONGEST.values()))] | None = None

    @model_validator(mode="after")
    def _within_three_years(self) -> Self:
        longest = _LONGEST[self.interval]
        if self.interval_count is not None and self.interval_count > longest:
            msg = f"a price is paid every three years at least: interval_count is up to {longest} for {self.interval}"
            raise ValueError(msg)
        return self


class Priced(Input):
    """What has an amount for one unit, in a currency. 0 is free."""

    currency: Currency
    unit_amount: UnitAmount
    recurring: Annotated[Recurring, Field(description="Left out, the price is paid once.")] | None = None

    @model_validator(mode="after")
    def _chargeable(self) -> Self:
        check_amount(self.unit_amount, self.currency)
        return self


class NewProduct(Input):
    """
    A product. *default_price_data* makes its first price along with it.

    Source: https://docs.stripe.com/api/products/create
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=250)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=5000)] | None = None
    active: StrictBool | None = None
    url: Url | None = None
    images: Annotated[list[Url], Field(min_length=1, max_length=8)] | None = None
    default_price_data: Priced | None = None
    metadata: Metadata | None = None


class NewPrice(Priced):
    """
    A price of a product. What it costs can never be changed: another amount is another price.

    Source: https://docs.stripe.com/api/prices/create
    """

    product: ProductId
    nickname: Text | None = None
    active: StrictBool | None = None
    metadata: Metadata | None = None


async def list_products(exchange: Exchange) -> Answer:
    return await listed(exchange, exchange.stripe.products)


async def get_product(exchange: Exchange) -> Answer:
    found = await settled(exchange.stripe.products.retrieve(_chosen(exchange)))
    return Answer(content=existing(exchange.content(found)))


async def create_product(exchange: Exchange) -> Answer:
    made = await settled(exchange.stripe.products.create(**exchange.body.params(), **exchange.options))
    return Answer(status=201, content=exchange.content(made))


async def list_prices(exchange: Exchange) -> Answer:
    return await listed(exchange, exchange.stripe.prices)


async def get_price(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.prices.retrieve(_chosen(exchange)))))


async def create_price(exchange: Exchange) -> Answer:
    made = await settled(exchange.stripe.prices.create(**exchange.body.params(), **exchange.options))
    return Answer(status=201, content=exchange.content(made))


def _chosen(exchange: Exchange) -> str:
    """Return the id in the path, which says nothing of its kind but is one segment of a path and no more."""
    if exchange.id in {".", ".."} or not re.fullmatch(_CHOSEN, exchange.id):
        raise Problem(404, "not_found", "An id has letters, digits, underscores, dots and dashes only.")
    return exchange.id


OPERATIONS = (
    Operation(
        name="list_products",
        method="GET",
        path="/products",
        summary="List products",
        handle=list_products,
        query=CataloguePage,
        schema=schemas.page(PRODUCT),
    ),
    Operation(
        name="get_product",
        method="GET",
        path="/products/{id}",
        summary="Get a product",
        description="A deleted product is not found.",
        handle=get_product,
        schema=PRODUCT,
    ),
    Operation(
        name="create_product",
        method="POST",
        path="/products",
        summary="Make a product",
        handle=create_product,
        body=NewProduct,
        status=201,
        schema=PRODUCT,
    ),
    Operation(
        name="list_prices",
        method="GET",
        path="/prices",
        summary="List prices",
        handle=list_prices,
        query=PricesQuery,
        schema=schemas.page(PRICE),
    ),
    Operation(
        name="get_price",
        method="GET",
        path="/prices/{id}",
        summary="Get a price",
        handle=get_price,
        schema=PRICE,
    ),
    Operation(
        name="create_price",
        method="POST",
        path="/prices",
        summary="Make a price",
        handle=create_price,
        body=NewPrice,
        status=201,
        schema=PRICE,
    ),
)
