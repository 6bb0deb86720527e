"""
Events: what happened, with the object as it was then, kept for 30 days.

Source: https://docs.stripe.com/api/events
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from atom_stripe.config import API_VERSION
from atom_stripe.testing._state.store import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Happening

EVENT = Kind("event", "evt")
RETENTION = 30 * 24 * 60 * 60


def wanted(type: str, patterns: Iterable[str]) -> bool:
    """Return whether one of *patterns* (``*``, ``charge.*`` or a full name) covers an event's type."""
    return any(pattern == type or ("*" in pattern and fnmatchcase(type, pattern.replace("[", "[[]"))) for pattern in patterns)


def event(
    happening: Happening, account: Account, *, identity: str, now: int, request: tuple[str, str | None] | None, pending: int
) -> Row:
    """
    Return the event of *happening*.

    It is written in the account's API version, whatever version the request asked for. *request*: the id and idempotency key of the
    request that caused it, ``None`` for what Stripe did by itself. *pending*: the webhooks that have not taken it yet.
    """
    data: dict[str, Any] = {"object": happening.object}
    if happening.previous is not None:
        data["previous_attributes"] = happening.previous
    request_id, key = request or (None, None)
    row = {
        "id": identity,
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": data,
        "livemode": False,
        "pending_webhooks": pending,
        "request": {"id": request_id, "idempotency_key": key},
        "type": happening.type,
    }
    if account.platform:
        # What happens in a connected account says whose it is. Source: https://docs.stripe.com/connect/webhooks
        row["account"] = account.id
    return row
