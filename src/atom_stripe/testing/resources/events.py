"""
Events: what happened in the last 30 days.

Source: https://docs.stripe.com/api/events
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import exclusive, no_such
from atom_stripe.testing._state.events import EVENT, RETENTION, wanted
from atom_stripe.testing._state.pages import CREATED, PAGE, page, within
from atom_stripe.testing._state.params import Boolean, ListOf, Text
from atom_stripe.testing._state.routing import route

if TYPE_CHECKING:
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
            wanted(row["type"], types)
            and within(row["created"], params.get("created"))
            and (delivered is None or delivered == (row["pending_webhooks"] == 0))
        )

    rows = (row for row in call.rows("event") if _is_kept(call, row))
    return page(rows, params, kind="event", url=call.path, where=matches)


@route("GET", "/v1/events/{id}")
def retrieve(call: Call) -> Row:
    row = call.find("event", call.arguments["id"])
    if not _is_kept(call, row):
        raise no_such("event", row["id"])
    return row


def _is_kept(call: Call, row: Row) -> bool:
    return bool(row["created"] > call.now - RETENTION)
