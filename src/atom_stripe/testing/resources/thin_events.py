"""
Thin events: the second API's events of the last 30 days.

Source: https://docs.stripe.com/api/v2/core/events
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from atom_stripe.testing._state import thin
from atom_stripe.testing._state.errors import invalid, no_such
from atom_stripe.testing._state.events import EVENT, RETENTION, wanted
from atom_stripe.testing._state.pages import within
from atom_stripe.testing._state.params import Hash, Id, ListOf, Text
from atom_stripe.testing.resources.v2 import PAGE, cursor_of, envelope, lost_page, page_size, route

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

_PATH = "/v2/core/events"
_TIME = Text(longest=40, unsettable=False)
_MOST_TYPES = 20


@route(
    "GET",
    _PATH,
    {
        **PAGE,
        "created": Hash(dict.fromkeys(("gt", "gte", "lt", "lte"), _TIME)),
        "object_id": Id(),
        "types": ListOf(Text(unsettable=False)),
    },
)
def list_all(call: Call) -> Row:
    params = call.params
    types = params.get("types", ["*"])
    if len(types) > _MOST_TYPES:
        raise invalid(f"types may have up to {_MOST_TYPES} entries.", "types")
    moments = {name: _seconds(value, f"created[{name}]") for name, value in params.get("created", {}).items()}

    def matches(row: Row) -> bool:
        return (
            row["created"] > call.now - RETENTION
            and within(row["created"], moments or None)
            and (name := thin.thin_type(row)) is not None
            and wanted(name, types)
            and ("object_id" not in params or params["object_id"] == row["data"]["object"].get("id"))
        )

    # As few events as possible are looked at: there may be very many.
    rows, limit = list(call.account.table(EVENT.name).values()), page_size(call)
    end, before = len(rows), None
    if (cursor := cursor_of(call)) is not None:
        first = call.get(EVENT.name, thin.snapshot_id(cursor))
        if first is None:
            raise lost_page()
        end = first["_number"] + 1
        newer = list(islice(filter(matches, rows[end:]), limit))
        before = thin.thin_id(newer[-1]) if newer else None
    found = list(islice(filter(matches, reversed(rows[:end])), limit + 1))
    further = thin.thin_id(found[limit]) if len(found) > limit else None
    return envelope(call, [thin.whole(row) for row in found[:limit]], further, before)


@route("GET", f"{_PATH}/{{id}}")
def retrieve(call: Call) -> Row:
    identity = call.argument("id")
    row = call.get(EVENT.name, thin.snapshot_id(identity))
    if row is None or row["created"] <= call.now - RETENTION or thin.thin_type(row) is None:
        raise no_such("v2.core.event", identity)
    return thin.whole(row)


def _seconds(value: str, param: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise invalid(f"{param} must be a time such as 2026-11-02T09:00:00Z.", param)
    return int(moment.timestamp())
