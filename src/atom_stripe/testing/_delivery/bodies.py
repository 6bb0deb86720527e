"""What an endpoint gets of an event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atom_stripe.testing._state import thin
from atom_stripe.testing._state.events import snapshot, wanted
from atom_stripe.testing._state.machine import dumped

if TYPE_CHECKING:
    from atom_stripe.testing._delivery.parcels import Endpoint
    from atom_stripe.testing._state.store import Account, Row


def type_for(endpoint: Endpoint, event: Row) -> str | None:
    """Return the type under which *endpoint* wants *event*, ``None`` if it does not."""
    if endpoint.payload == "thin":
        name = thin.thin_type(event)
        return name if name is not None and wanted(name, endpoint.events) else None
    return event["type"] if not event.get("_thin") and wanted(event["type"], endpoint.events) else None


class Bodies:
    """The bodies of one event: written once for each shape in which an endpoint wants it."""

    def __init__(self, event: Row, account: Account) -> None:
        self._event = event
        self._account = account
        self._written: dict[str | None, bytes] = {}

    def body(self, endpoint: Endpoint) -> bytes:
        """Return what *endpoint* gets."""
        shape = "thin" if endpoint.payload == "thin" else endpoint.api_version
        if shape not in self._written:
            if shape == "thin":
                notification = thin.notification(self._event)
                self._written[shape] = json.dumps(notification, separators=(",", ":"), ensure_ascii=False).encode()
            else:
                self._written[shape] = dumped(snapshot(self._event, shape, self._account))
        return self._written[shape]
