"""What may come in: the parts that the models of several routes share. Checked before Stripe sees anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from atom_stripe.errors import InvalidAmountError
from atom_stripe.money import CURRENCIES, Money
from atom_stripe.service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

T = TypeVar("T")
# More than Stripe takes in any currency (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts), and what JSON holds exactly.
_MOST = 999_999_999_999


class Input(BaseModel):
    """A query or a body: unknown parameters are refused, because a misspelled one would be lost in silence."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def params(self) -> dict[str, Any]:
        """Return what was given, as the client takes it."""
        given = self.model_dump(exclude_unset=True, exclude_none=True)
        # An empty object says nothing, and a form cannot carry it.
        return {name: value for name, value in given.items() if value != {}}


class Change(Input):
    """What is to change: what is not there stays as it is, and null clears what can be empty."""

    def params(self) -> dict[str, Any]:
        """Return what was given, as the client takes it: what is cleared is an empty text, because ``None`` is "not given" there."""
        return cleared(self.model_dump(exclude_unset=True))


def omitted() -> Any:
    """Return the default of a parameter that can be left out but not be null. It is never sent."""
    return None


def cleared(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return *given* with empty texts for what is null, and without what says nothing."""
    return {name: _spelled(value) for name, value in given.items() if value != {}}


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return cleared(value)
    return "" if value is None else value


def _known(code: str) -> str:
    if code.lower() not in CURRENCIES:
        msg = "Stripe has no such currency"
        raise ValueError(msg)
    return code.lower()


def _web(url: str) -> str:
    if not url.lower().startswith(("https://", "http://")):
        msg = "a URL begins with https:// (or http://, in test mode)"
        raise ValueError(msg)
    return url


def _bracketless(metadata: dict[str, T]) -> dict[str, T]:
    if any("[" in name or "]" in name for name in metadata):
        msg = "names in metadata have no square brackets"
        raise ValueError(msg)
    return metadata


def _begins(*prefixes: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^({'|'.join(prefixes)})_[A-Za-z0-9_]{{1,240}}$", max_length=255)


ChargeId = Annotated[str, _begins("ch", "py")]
CustomerId = Annotated[str, _begins("cus")]
InvoiceId = Annotated[str, _begins("in")]
PaymentId = Annotated[str, _begins("pi")]
PaymentMethodId = Annotated[str, _begins("pm", "card", "src", "ba")]
# Accounts choose the ids of their products, and once chose those of their plans, which are prices now.
PriceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,255}$")]
ProductId = PriceId
SubscriptionId = Annotated[str, _begins("sub")]
SubscriptionItemId = Annotated[str, _begins("si")]

Amount = Annotated[StrictInt, Field(gt=0, le=_MOST, description="In the currency's minor unit: 2000 is 20 dollars, but 2000 yen.")]
"""An amount of money: a whole number, never a float."""

UnitAmount = Annotated[
    StrictInt, Field(ge=0, le=_MOST, description="In the currency's minor unit: 2000 is 20 dollars, but 2000 yen.")
]

Currency = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": sorted(CURRENCIES), "description": "Three letters, as ISO 4217 has them."}),
]

_Name = Annotated[str, StringConstraints(min_length=1, max_length=40)]
_Value = Annotated[str, StringConstraints(max_length=500)]
Metadata = Annotated[
    dict[_Name, _Value],
    Field(max_length=50, description="Up to 50 texts of your own. Source: https://docs.stripe.com/metadata"),
    AfterValidator(_bracketless),
]
ChangedMetadata = Annotated[
    dict[_Name, _Value | None],
    Field(max_length=50, description="Names that are not here stay; null or an empty text removes one."),
    AfterValidator(_bracketless),
]
"""Metadata of an object that there is already."""

Url = Annotated[
    str, StringConstraints(min_length=8, max_length=2048, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s]+$"), AfterValidator(_web)
]
Email = Annotated[str, StringConstraints(min_length=3, max_length=512, pattern=r"^[^@\s]+@[^@\s]+$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Quantity = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Limit = Annotated[int, Field(ge=1, le=100)]


class Address(Input):
    """A postal address, as Stripe has it."""

    line1: ShortText | None = None
    line2: ShortText | None = None
    city: ShortText | None = None
    state: ShortText | None = None
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None


class Page(Input):
    """Which part of a list: *limit* objects, after the ``next_cursor`` of the part before."""

    limit: Limit = 10
    cursor: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,255}$")] | None = None


def check_amount(amount: int, currency: str) -> None:
    """Refuse an amount that Stripe does not charge in this currency."""
    try:
        Money(Money.from_minor(amount, currency).amount, currency)
    except InvalidAmountError as error:
        raise ValueError(str(error)) from None


class Charged(Input):
    """What has an amount in a currency."""

    amount: Amount
    currency: Currency

    @model_validator(mode="after")
    def _chargeable(self) -> Self:
        check_amount(self.amount, self.currency)
        return self


Where = Literal["query", "body"]


def read_query(model: type[BaseModel], query: Mapping[str, list[str]]) -> BaseModel:
    """
    Return the parameters of a URL as *model*.

    Raises:
        Problem: 422; what is wrong with which.
    """
    twice = [name for name, values in query.items() if len(values) > 1]
    if twice:
        errors = [{"parameter": _brief(name), "detail": "it was given more than once"} for name in twice]
        raise _invalid(errors)
    try:
        return model.model_validate({name: values[0] for name, values in query.items()})
    except ValidationError as error:
        raise _invalid([_told(one, "query") for one in error.errors(include_url=False, include_input=False)]) from None


def read_body(model: type[BaseModel], body: bytes) -> BaseModel:
    """
    Return a JSON body as *model*. An empty one is an object without members.

    Raises:
        Problem: 400 if it is no JSON, 422 with what is wrong with it.
    """
    try:
        # json, and not pydantic's own: a name that comes twice must not be read in two ways by two programs.
        value = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_none) if body.strip() else {}
    except _TwiceError:
        raise Problem(400, "malformed_json", "The body has an object with the same name twice.") from None
    except (ValueError, RecursionError):
        raise Problem(400, "malformed_json", "The body is not JSON in UTF-8.") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _invalid([_told(one, "body") for one in error.errors(include_url=False, include_input=False)]) from None


class _TwiceError(ValueError):
    """A name stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _TwiceError
    return made


def _none(_word: str) -> float:
    # NaN and Infinity are Python's, and no JSON.
    raise ValueError


def _invalid(errors: list[dict[str, str]]) -> Problem:
    return Problem(422, "invalid_input", "Some parameters are not valid: see errors.", errors=errors[:_TOLD])


_TOLD = 20


def _told(error: ErrorDetails, where: Where) -> dict[str, str]:
    # pydantic's messages say what was expected; those of ours begin with its "Value error, ".
    detail = error["msg"].removeprefix("Value error, ")
    location = [_brief(str(part)) for part in error["loc"]]
    if where == "query":
        return {"parameter": location[0] if location else "", "detail": detail}
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in location)
    return {"pointer": pointer, "detail": detail}


def _brief(name: str) -> str:
    """Return a name that a caller sent, as far as it may be said back: an unknown parameter can be any text."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in name[:64])
