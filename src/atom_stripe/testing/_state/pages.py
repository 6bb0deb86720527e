"""
Lists: newest first, a page at a time, by cursors that are ids.

Source: https://docs.stripe.com/api/pagination
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import exclusive, no_such
from atom_stripe.testing._state.params import Either, Hash, Id, Integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.store import Row

PAGE: dict[str, Parameter] = {"limit": Integer(least=1, most=100), "starting_after": Id(), "ending_before": Id()}
"""The parameters of every list."""

CREATED = Either(Integer(), Hash({name: Integer() for name in ("gt", "gte", "lt", "lte")}))
"""A moment, or a range of time."""

_DEFAULT_LIMIT = 10


def page(
    rows: Iterable[Row], params: Mapping[str, Any], *, kind: str, url: str, where: Callable[[Row], bool] = lambda _: True
) -> Row:
    """Return the page of *rows*, newest first, that *params* ask for."""
    after, before, limit = params.get("starting_after"), params.get("ending_before"), params.get("limit", _DEFAULT_LIMIT)
    if after and before:
        raise exclusive("starting_after", "ending_before")
    everything = list(rows)
    if before:
        # What is newer than the cursor, and of that the part next to it.
        newer = [row for row in everything[: _position(everything, before, kind, "ending_before")] if where(row)]
        return envelope(newer[-limit:], url, has_more=len(newer) > limit)
    start = _position(everything, after, kind, "starting_after") + 1 if after else 0
    older = [row for row in everything[start:] if where(row)]
    return envelope(older[:limit], url, has_more=len(older) > limit)


def envelope(rows: list[Row], url: str, *, has_more: bool = False) -> Row:
    """Return *rows* as Stripe sends a list."""
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def within(value: int, wanted: int | Mapping[str, int] | None) -> bool:
    """Return whether a moment is in the range that was asked for."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return value == wanted
    return (
        value > wanted.get("gt", value - 1)
        and value >= wanted.get("gte", value)
        and value < wanted.get("lt", value + 1)
        and value <= wanted.get("lte", value)
    )


def equal(row: Row, params: Mapping[str, Any], *names: str) -> bool:
    """Return whether the fields *names* of *row* are as *params* ask."""
    return all(name not in params or row.get(name) == params[name] for name in names)


def _position(rows: list[Row], cursor: str, kind: str, param: str) -> int:
    for index, row in enumerate(rows):
        if row["id"] == cursor:
            return index
    raise no_such(kind, cursor, param)
