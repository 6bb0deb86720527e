"""Lists: one envelope for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.service.exchange import settled
from atom_stripe.service.messages import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.service.exchange import Exchange

# How many pages of Stripe's are looked through at most for one of ours, where Stripe has no filter of its own.
_PAGES = 5
_LARGEST = 100


async def listed(exchange: Exchange, service: Any, **params: Any) -> Answer:
    """Return one page of *service*, a service of the client, with the caller's filters and *params*."""
    asked = exchange.query.params() | params
    cursor = asked.pop("cursor", None)
    asked["limit"] = exchange.query.limit
    if cursor:
        asked["starting_after"] = cursor
    page = await settled(service.list(**asked))
    raw = [exchange.content(one) for one in page.data]
    return envelope(raw, raw[-1]["id"] if raw and page.has_more else None)


async def sifted(exchange: Exchange, service: Any, wanted: Callable[[dict[str, Any]], bool], **params: Any) -> Answer:
    """
    Return the objects that are *wanted*, where Stripe's list has no such filter and its search lags behind.

    A page can have fewer objects than asked for although more follow: so much is read and no more.
    """
    limit, cursor, found = exchange.query.limit, exchange.query.cursor, list[dict[str, Any]]()
    for _ in range(_PAGES):
        page = await settled(service.list(**params, limit=_LARGEST, **({"starting_after": cursor} if cursor else {})))
        for index, one in enumerate(page.data):
            raw = exchange.content(one)
            cursor = raw["id"]
            if wanted(raw):
                found.append(raw)
                if len(found) == limit:
                    more = page.has_more or index + 1 < len(page.data)
                    return envelope(found, cursor if more else None)
        if not page.has_more:
            return envelope(found, None)
    return envelope(found, cursor)


def envelope(data: list[dict[str, Any]], cursor: str | None, **facts: Any) -> Answer:
    """Return a page of a list: *cursor* leads to the next one, if there is one."""
    return Answer(content={"data": data, "has_more": cursor is not None, "next_cursor": cursor, **facts})
