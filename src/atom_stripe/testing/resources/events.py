"""
Events: what happened in the last 30 days.

Source: https://docs.stripe.com/api/events
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import exclusive, no_such
from atom_stripe.testing._state.events import EVENT, RETENTION, wanted
from atom_stripe.testing._state.pages import CREATED, PAGE, envelope, within
from atom_stripe.testing._state.params import Boolean, ListOf, Text
from atom_stripe.testing._state.routing import route

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

# Imported so that the catalog finds it here, beside its operations.
KIND = EVENT


@route(
    "GET",
    "/v1/events",
    {
        **PAGE,
        "created": CREATED,
        "delivery_success": Boolean(),
        "type": Text(unsettable=False),
        "types": ListOf(Text(unsettable=False)),
    },
)
def list_all(call: Call) -> Row:
    params = call.params
    if "type" in params and "types" in params:
        raise exclusive("type", "types")
    types = params.get("types") or [params.get("type", "*")]
    delivered = params.get("delivery_success")

    def matches(row: Row) -> bool:
        return (
            not row.get("_thin")
            and wanted(row["type"], types)
            and within(row["created"], params.get("created"))
            and (delivered is None or delivered == (row["pending_webhooks"] == 0))
            and _is_kept(call, row)
        )

    return _page(call, matches)


@route("GET", "/v1/events/{id}")
def retrieve(call: Call) -> Row:
    row = call.find("event", call.arguments["id"])
    if row.get("_thin") or not _is_kept(call, row):
        raise no_such("event", row["id"])
    return row


def _is_kept(call: Call, row: Row) -> bool:
    return bool(row["created"] > call.now - RETENTION)


def _page(call: Call, matches: Callable[[Row], bool]) -> Row:
    """Return a page, as ``pages.page`` does it, without looking at more events than it must: there may be very many."""
    params = call.params
    after, before, limit = params.get("starting_after"), params.get("ending_before"), params.get("limit", 10)
    if after and before:
        raise exclusive("starting_after", "ending_before")
    rows = list(call.account.table(EVENT.name).values())
    if before:
        found = list(islice(filter(matches, rows[_number(call, before, "ending_before") + 1 :]), limit + 1))
        data = found[:limit][::-1]
    else:
        older = rows[: _number(call, after, "starting_after")] if after else rows
        found = list(islice(filter(matches, reversed(older)), limit + 1))
        data = found[:limit]
    return envelope(data, call.path, has_more=len(found) > limit)


def _number(call: Call, identity: str, param: str) -> int:
    row = call.get(EVENT.name, identity)
    if row is None or row.get("_thin") or not _is_kept(call, row):
        raise no_such("event", identity, param)
    return int(row["_number"])
