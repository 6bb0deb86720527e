"""Search, in one type of objects or in all of them."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, ValidationError, ValidationInfo, field_validator

from atom_stripe.errors import InvalidRequestError
from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.inputs import Input, Limit
from atom_stripe.service.operation import Operation
from atom_stripe.service.routes.listing import envelope

if TYPE_CHECKING:
    from atom_stripe.service.exchange import Exchange
    from atom_stripe.service.messages import Answer

_Type = Literal["customers", "payments", "subscriptions", "products", "prices", "invoices", "charges"]
TYPES: tuple[_Type, ...] = get_args(_Type)
# Stripe does not say what its page tokens are made of.
_LONGEST_TOKEN = 1024
_Token = Annotated[str, StringConstraints(pattern=rf"^[\x21-\x7e]{{1,{_LONGEST_TOKEN}}}$")]
# Room for a token of every type, in base64.
_LONGEST_CURSOR = 12_288
_BAD_REQUEST = 400


class _Cursor(Input):
    """Where a search in all types goes on: the page token of each type that has more. *query*: a digest of what was searched for."""

    query: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    pages: Annotated[dict[_Type, _Token], Field(min_length=1)]


class SearchQuery(Input):
    """
    What to search for, in Stripe's query language; in which type; *limit* objects of each type.

    Source: https://docs.stripe.com/search#search-query-language
    """

    query: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\S")]
    type: Literal[_Type, "all"] = "all"
    limit: Limit = 10
    cursor: Annotated[str, StringConstraints(pattern=rf"^[\x21-\x7e]{{1,{_LONGEST_CURSOR}}}$")] | None = None

    @field_validator("cursor")
    @classmethod
    def _given_out(cls, cursor: str | None, known: ValidationInfo) -> str | None:
        kind, query = known.data.get("type"), known.data.get("query")
        if cursor is not None and kind == "all":
            if query is not None and _read(cursor).query != _digest(query):
                msg = "this cursor is of another query"
                raise ValueError(msg)
        elif cursor is not None and len(cursor) > _LONGEST_TOKEN:
            raise ValueError(_UNKNOWN)
        return cursor


_UNKNOWN = "this is no cursor of such a search"


async def search(exchange: Exchange) -> Answer:
    query: SearchQuery = exchange.query
    if query.type == "all":
        return await _search_all(exchange, query)
    data, token = await _page(exchange, query, query.type, query.cursor)
    return envelope(data, token, skipped=[])


async def _search_all(exchange: Exchange, query: SearchQuery) -> Answer:
    """One type after the other, since Stripe has no search in all of them. Types that know no such field have none such."""
    asked: dict[_Type, str | None] = dict.fromkeys(TYPES)
    if query.cursor is not None:
        asked = {**_read(query.cursor).pages}
    data, pages, refusals = list[dict[str, Any]](), dict[_Type, str](), dict[_Type, InvalidRequestError]()
    for kind in TYPES:
        if kind not in asked:
            continue
        try:
            found, token = await _page(exchange, query, kind, asked[kind])
        except InvalidRequestError as error:
            # A type that was searched before knows the fields: then it is the page that is wrong.
            if error.status != _BAD_REQUEST or asked[kind] is not None:
                raise
            refusals[kind] = error
            continue
        data += found
        if token is not None:
            pages[kind] = token
    if len(refusals) == len(asked):
        raise next(iter(refusals.values()))
    return envelope(data, _written(query.query, pages) if pages else None, skipped=list(refusals))


async def _page(exchange: Exchange, query: SearchQuery, kind: _Type, token: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of objects, and the token of the next."""
    # By Stripe's name.
    service = getattr(exchange.stripe, "payment_intents" if kind == "payments" else kind)
    after = {"page": token} if token else {}
    page = await settled(service.search(query=query.query, limit=query.limit, **after))
    return [exchange.content(one) for one in page.data], (page.to_dict().get("next_page") or None) if page.has_more else None


def _written(query: str, pages: dict[_Type, str]) -> str:
    text = json.dumps({"query": _digest(query), "pages": pages}, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str) -> _Cursor:
    """Return what ``_written`` wrote, or somebody made up: it says no more than which pages to ask Stripe for."""
    try:
        return _Cursor.model_validate(json.loads(b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)))
    except (ValidationError, ValueError, RecursionError):
        raise ValueError(_UNKNOWN) from None


def _digest(query: str) -> str:
    return hashlib.blake2b(query.encode(errors="surrogatepass"), digest_size=8).hexdigest()


_FOUND = {
    "type": "object",
    "description": "Stripe's object, whole; object says which it is.",
    "required": ["id", "object"],
    "properties": {
        "id": schemas.TEXT,
        "object": {"enum": ["customer", "payment_intent", "subscription", "product", "price", "invoice", "charge"]},
    },
    "additionalProperties": True,
}
_SCHEMA = schemas.page(
    _FOUND,
    skipped={
        "type": "array",
        "items": {"enum": list(TYPES)},
        "description": "The types that cannot be searched with this query, because they have no such field.",
    },
)
# A page of each type.
_SCHEMA["properties"]["data"]["maxItems"] = 100 * len(TYPES)

OPERATIONS = (
    Operation(
        name="search",
        method="GET",
        path="/search",
        summary="Search",
        description=(
            "In Stripe's query language, in one *type* or in all that have the fields: *limit* objects of each. Stripe's search is up to a minute"
            " behind what was written, and more when it is disturbed, so look up what was just made by its id or in a list. Accounts in India"
            " have no search. A search in all types is a request to Stripe for each of them, of which it takes 20 a second."
            " Source: https://docs.stripe.com/search"
        ),
        handle=search,
        query=SearchQuery,
        schema=_SCHEMA,
    ),
)
