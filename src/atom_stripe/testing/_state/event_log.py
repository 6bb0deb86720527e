"""The events of a sandbox: made, kept in their account, and handed on for delivery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from atom_stripe.config import API_VERSION
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.events import EVENT, event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.clock import Clock
    from atom_stripe.testing._state.faults import Faults
    from atom_stripe.testing._state.ids import Ids
    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Happening


class Outbox(Protocol):
    """Where events go. Called with the machine's lock held, so it only takes notes."""

    def post(self, account: Account, event: Row) -> None:
        """Take an event for delivery, and write into it how many endpoints want it."""


@dataclass(slots=True)
class EventLog:
    """All events. *api_version*: the one in which they are written from now on. Used with the machine's lock held."""

    accounts: Mapping[str, Account] = field(repr=False)
    ids: Ids = field(repr=False)
    clock: Clock
    faults: Faults = field(repr=False)
    outbox: Outbox = field(repr=False)
    api_version: str = API_VERSION

    def record(
        self,
        happening: Happening,
        account: Account,
        request: tuple[str, str | None] | None,
        *,
        identity: str | None = None,
        created: int | None = None,
        version: str | None = None,
        livemode: bool = False,
    ) -> Row:
        """
        Keep and send the event of *happening*, and return it. A fault may make two of it; the first is returned.

        Raises:
            ConfigurationError: There is an event with this *identity*.
        """
        if identity is not None and self.find(identity):
            msg = "there is an event with this id already; resend() delivers it again"
            raise ConfigurationError(msg)
        identities = [identity or self.ids.new(EVENT.prefix, EVENT.length)]
        if self.faults.twins():
            identities.append(self.ids.new(EVENT.prefix, EVENT.length))
        now = self.faults.created(self.clock.timestamp) if created is None else created
        version = version or self.api_version
        table = account.table(EVENT.name)
        for each in identities:
            row = event(happening, account, identity=each, now=now, request=request, version=version, livemode=livemode)
            row["_number"] = len(table)
            table[each] = row
            self.outbox.post(account, row)
        return table[identities[0]]

    def find(self, identity: str) -> tuple[Account, Row] | None:
        """Return an event, and the account that it is from."""
        for account in self.accounts.values():
            if row := account.table(EVENT.name).get(identity):
                return account, row
        return None

    def taken(self, account: str, identity: str) -> None:
        """Note that one more of the endpoints that were to get an event took it."""
        self.accounts[account].table(EVENT.name)[identity]["pending_webhooks"] -= 1
