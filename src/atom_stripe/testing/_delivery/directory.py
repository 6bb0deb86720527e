"""Who wants which events: functions, and the endpoints that the API keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._delivery.bodies import type_for
from atom_stripe.testing._delivery.parcels import Endpoint
from atom_stripe.testing.resources import event_destinations, webhook_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.testing._state.machine import Machine
    from atom_stripe.testing._state.store import Account, Row

_TABLES = (webhook_endpoints.WEBHOOK_ENDPOINT.name, event_destinations.NAME)


class Directory:
    """The endpoints of one sandbox."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._receivers: dict[str, Endpoint] = {}

    def add(self, endpoint: Endpoint) -> None:
        """Add the endpoint of a function."""
        self._receivers[endpoint.id] = endpoint

    def interested(self, account: Account, event: Row) -> Iterator[Endpoint]:
        """Yield the endpoints that want *event* of *account*."""
        for owner in (account.id, account.platform):
            if owner is None:
                continue
            for endpoint in self._of(owner):
                # An endpoint hears of its own account or of the connected ones, never of both; a destination may say both.
                # Source: https://docs.stripe.com/connect/webhooks
                hears = endpoint.own if owner == account.id else endpoint.connect
                if hears and endpoint.enabled and type_for(endpoint, event) is not None:
                    yield endpoint

    def now(self, endpoint: Endpoint | str) -> Endpoint | None:
        """Return an endpoint as it is now, ``None`` if it was deleted."""
        identity = endpoint if isinstance(endpoint, str) else endpoint.id
        if identity in self._receivers:
            return self._receivers[identity]
        owners = [endpoint.owner] if isinstance(endpoint, Endpoint) else list(self._machine.accounts)
        for owner in owners:
            for table in _TABLES:
                row = self._machine.accounts[owner].table(table).get(identity)
                if row is not None and not row.get("deleted"):
                    return from_row(row, owner)
        return None

    def find(self, endpoint: Endpoint | str) -> Endpoint:
        """As ``now()``. Raises ``ConfigurationError`` if there is none."""
        found = self.now(endpoint)
        if found is None:
            msg = "the sandbox has no such webhook endpoint, or it was deleted"
            raise ConfigurationError(msg)
        return found

    def roll(self, endpoint: Endpoint | str, secret: str, until: int) -> None:
        """Give an endpoint a new secret. The old one goes on signing *until* that second."""
        old = self.find(endpoint)
        kept = tuple(entry for entry in (*old.old_secrets, (old.secret, until)) if entry[1] > self._machine.clock.timestamp)
        if old.receiver:
            self._receivers[old.id] = replace(old, secret=secret, old_secrets=kept)
        else:
            row = self._row(old)
            row["_secret"], row["_old_secrets"] = secret, kept

    def enable(self, endpoint: Endpoint | str, *, enabled: bool) -> None:
        """Turn an endpoint on or off."""
        found = self.find(endpoint)
        if found.receiver:
            self._receivers[found.id] = replace(found, enabled=enabled)
        else:
            self._row(found)["status"] = "enabled" if enabled else "disabled"

    def _row(self, endpoint: Endpoint) -> Row:
        tables = self._machine.accounts[endpoint.owner]
        return next(row for name in _TABLES if (row := tables.table(name).get(endpoint.id)))

    def _of(self, owner: str) -> Iterator[Endpoint]:
        for table in _TABLES:
            for row in list(self._machine.accounts[owner].table(table).values()):
                if row.get("status") == "enabled":
                    yield from_row(row, owner)
        for endpoint in list(self._receivers.values()):
            if endpoint.owner == owner:
                yield endpoint


def from_row(row: Row, owner: str) -> Endpoint:
    """Return the endpoint that the API keeps as *row*."""
    if row["object"] == event_destinations.NAME:
        return event_destinations.endpoint(row, owner)
    return Endpoint(
        row["id"],
        tuple(row["enabled_events"]),
        row["_secret"],
        url=row["url"],
        connect=row["_connect"],
        own=not row["_connect"],
        api_version=row["api_version"],
        enabled=row["status"] == "enabled",
        owner=owner,
        old_secrets=row.get("_old_secrets", ()),
    )
