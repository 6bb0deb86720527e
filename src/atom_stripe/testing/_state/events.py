"""
Events: what happened, with the object as it was then, kept for 30 days.

Source: https://docs.stripe.com/api/events
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from atom_stripe.config import API_VERSION
from atom_stripe.testing._state.shapes import rendered
from atom_stripe.testing._state.store import Kind, copied, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Happening

EVENT = Kind("event", "evt")
RETENTION = 30 * 24 * 60 * 60


def wanted(type: str, patterns: Iterable[str]) -> bool:
    """Return whether one of *patterns* (``*``, ``charge.*`` or a full name) covers an event's type."""
    return any(
        pattern in {type, "*"} or ("*" in pattern and fnmatchcase(type, pattern.replace("[", "[[]"))) for pattern in patterns
    )


def event(
    happening: Happening,
    account: Account,
    *,
    identity: str,
    now: int,
    request: tuple[str, str | None] | None,
    version: str = API_VERSION,
    livemode: bool = False,
) -> Row:
    """
    Return the event of *happening*.

    It is written in the account's API *version*, whatever version the request asked for. *request*: the id and idempotency key of the
    request that caused it, ``None`` for what Stripe did by itself.
    """
    data: dict[str, Any] = {"object": happening.object}
    if happening.previous is not None:
        data["previous_attributes"] = happening.previous
    request_id, key = request or (None, None)
    row: Row = {
        "id": identity,
        "object": "event",
        "api_version": version,
        "created": now,
        "data": data if version == API_VERSION else in_version(data, version, account),
        "livemode": livemode,
        "pending_webhooks": 0,
        "request": {"id": request_id, "idempotency_key": key},
        "type": happening.type,
        # As it is written now: what endpoints with a version of their own get is made of it.
        "_data": data,
    }
    if happening.type.startswith(("v1.", "v2.")):
        # The second API's own, of which there is no snapshot.
        row["_thin"] = True
    if account.platform:
        # What happens in a connected account says whose it is. Source: https://docs.stripe.com/connect/webhooks
        row["account"] = account.id
    return row


def in_version(data: Row, version: str, account: Account) -> Row:
    """Return an event's ``data`` as an API version has it."""

    def charges(payment_intent: str) -> list[Row]:
        made = reversed(account.table("charge").values())
        return [rendered(copied(shown(row)), version, charges) for row in made if row.get("payment_intent") == payment_intent]

    about = data["object"]
    result = {"object": rendered(about, version, charges)}
    if "previous_attributes" in data:
        result["previous_attributes"] = rendered(data["previous_attributes"], version, charges, about.get("object"))
    return result


def snapshot(event: Row, version: str | None, account: Account) -> Row:
    """Return *event* as an endpoint gets it that is pinned to an API version, or to none."""
    row = shown(event)
    if version is None or version == row["api_version"]:
        return row
    return {**row, "api_version": version, "data": in_version(event["_data"], version, account)}
