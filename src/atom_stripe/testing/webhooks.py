"""
Webhooks of the sandbox: who wants them, and what became of each delivery.

Functions are called in the process, right after the state changed and before the API call returns. URLs are posted to from threads, and
only on this machine. Source: https://docs.stripe.com/webhooks
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.signature import signature_header
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._delivery.bodies import Bodies, type_for
from atom_stripe.testing._delivery.directory import Directory
from atom_stripe.testing._delivery.dispatch import Dispatch
from atom_stripe.testing._delivery.parcels import Delivery, Endpoint, LostDeliveryError, Parcel
from atom_stripe.testing._delivery.settings import DeliverySettings
from atom_stripe.testing._state.events import RETENTION
from atom_stripe.testing._state.shapes import check_version
from atom_stripe.testing._state.store import Account, copied, shown
from atom_stripe.testing._state.transaction import Happening
from atom_stripe.testing.courier import is_local
from atom_stripe.testing.resources import event_destinations, webhook_endpoints

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from atom_stripe.testing._delivery.parcels import AsyncReceiver, Receiver
    from atom_stripe.testing._state.machine import Machine
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

__all__ = ["Delivery", "Endpoint", "LostDeliveryError", "Webhooks", "sign"]

_TYPE = re.compile(r"[a-z0-9_]+(?:[.\[][a-z0-9_.\]]+)+")
_EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,200}")
_LONGEST_ROLL = 24 * 60 * 60


def sign(body: bytes, secret: str, *, timestamp: float | None = None) -> str:
    """
    Return the ``Stripe-Signature`` header that Stripe would send with *body* to an endpoint with this *secret* (``whsec_…``).

    *timestamp*: when it was signed, in seconds since 1970; now, if left out. Source: https://docs.stripe.com/webhooks#verify-manually
    """
    return signature_header(body, [secret], int(time.time() if timestamp is None else timestamp))


class Webhooks(DeliverySettings):
    """
    The webhooks of one sandbox.

    What fails is tried again as time passes, which ``sandbox.clock.advance()`` makes it do. Stripe publishes no table of its retries, only that they
    go on for up to three days with exponential back-off; ours come after 5, 10, 20, 40, 80, 160, 320 and 640 minutes and then four times after
    12 hours: twelve, the last 69 hours and a quarter after the first attempt. See ``retries``.
    """

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = frozenset(hosts)
        self._machine: Machine | None = None

    def bind(self, machine: Machine) -> None:
        """Belong to *machine* from now on."""
        self._machine = machine
        self._directory = Directory(machine)
        self._dispatch = Dispatch(machine, self._directory, self._hosts)
        machine.faults.after_clear(self._dispatch.flush)

    @property
    def api_version(self) -> str:
        """
        The API version of the account, in which events are written from now on, unless an endpoint is pinned to another.

        An event keeps its version. Raises ``ConfigurationError`` if the sandbox does not know the version's shapes.
        """
        return self._bound().events.api_version

    @api_version.setter
    def api_version(self, version: str) -> None:
        self._bound().events.api_version = check_version(version)

    # Endpoints.

    def deliver_to(
        self,
        target: Receiver | AsyncReceiver | str,
        secret: str | None = None,
        events: Sequence[str] = ("*",),
        *,
        connect: bool = False,
        thin: bool = False,
        api_version: str | None = None,
    ) -> Endpoint:
        """
        Deliver events from now on and return the endpoint, with its secret.

        *target*: a function that gets the body and the ``Stripe-Signature`` header, or a URL on this machine. A coroutine function is awaited by
        calls of an async client, and by ``drain()``. *secret*: what to sign with; made up if left out. *events*: types, ``*`` for any part; those
        of thin events begin with ``v1.`` or ``v2.``. *connect*: deliver what happens in connected accounts instead of what happens in the
        sandbox's own. *thin*: deliver thin events. *api_version*: the version in which events are written, whatever the account's is.

        Raises:
            ConfigurationError: The URL leads elsewhere: test traffic stays here, and ``StripeSandbox(webhook_hosts=…)`` names further hosts. Or the
                sandbox does not know the shapes of the version, or a thin event was to have one.
        """
        machine = self._bound()
        if api_version is not None:
            check_version(api_version)
            if thin:
                msg = "thin events are in no API version: leave api_version out"
                raise ConfigurationError(msg)
        signing = secret or f"whsec_{machine.token('whsec', 32)}"
        if not isinstance(target, str):
            endpoint = Endpoint(
                f"we_{machine.token('we', 24)}",
                tuple(events),
                signing,
                receiver=target,
                connect=connect,
                own=not connect,
                payload="thin" if thin else "snapshot",
                api_version=api_version,
                owner=machine.account.id,
            )
            self._directory.add(endpoint)
            return endpoint
        if not is_local(target, self._hosts):
            msg = "the sandbox delivers webhooks to this machine only; name other hosts in StripeSandbox(webhook_hosts=…)"
            raise ConfigurationError(msg)
        made: list[Row] = []

        def add(work: Transaction) -> None:
            if thin:
                source = ["@accounts" if connect else "@self"]
                row = event_destinations.add(
                    work, target, list(events), secret=signing, payload="thin", events_from=source, name="sandbox"
                )
            else:
                row = webhook_endpoints.add(work, target, list(events), secret=signing, connect=connect, api_version=api_version)
            made.append(row)

        machine.perform(add)
        return self._directory.find(made[0]["id"])

    def roll_secret(self, endpoint: Endpoint | str, *, expires_in: int = 0) -> str:
        """
        Give an endpoint a new secret, as the Dashboard does, and return it.

        *expires_in*: for how many seconds of the sandbox's time, up to a day, the old one goes on; until then each delivery is signed with both.

        Raises:
            ConfigurationError: There is no such endpoint, or the old secret would live longer than a day.
        """
        if not 0 <= expires_in <= _LONGEST_ROLL:
            msg = f"an old secret ends at once or within {_LONGEST_ROLL} seconds"
            raise ConfigurationError(msg)
        machine = self._bound()
        secret = f"whsec_{machine.token('whsec', 32)}"
        self._directory.roll(endpoint, secret, machine.clock.timestamp + expires_in)
        return secret

    def disable(self, endpoint: Endpoint | str) -> None:
        """
        Turn an endpoint off. It gets no new events, and what is due to be tried again until ``enable()`` is given up.

        Raises:
            ConfigurationError: There is no such endpoint.
        """
        self._directory.enable(endpoint, enabled=False)

    def enable(self, endpoint: Endpoint | str) -> None:
        """
        Turn an endpoint on again.

        Raises:
            ConfigurationError: There is no such endpoint.
        """
        self._directory.enable(endpoint, enabled=True)

    # Events.

    def emit(
        self,
        type: str,
        object: Mapping[str, Any],
        *,
        account: str | Account | None = None,
        api_version: str | None = None,
        created: datetime | int | None = None,
        previous_attributes: Mapping[str, Any] | None = None,
        livemode: bool = False,
        id: str | None = None,
    ) -> Row:
        """
        Make an event of any type about any object, also one that the sandbox does not have; deliver it and return it as ``/v1/events`` has it.

        *object*: in the shape of the sandbox's own API version, from which older versions are written; what is in an older place already stays
        there. *type*: one that begins with ``v1.`` or ``v2.`` makes a thin event without a snapshot. *account*: the account where it happens, the
        sandbox's own if left out. *api_version*: the account's version at that time. *created*: when, by a datetime with a zone or in seconds
        since 1970; events are listed in the order in which they were made, whatever this says.

        Raises:
            ConfigurationError: There is no such account, the version is none that the sandbox knows, the id is taken or malformed, the type is
                malformed, or the object is no JSON.
        """
        machine = self._bound()
        where = (
            machine.account if account is None else machine.accounts.get(account.id if isinstance(account, Account) else account)
        )
        if where is None:
            msg = "the sandbox has no such account; sandbox.connect(), a consent or POST /v1/accounts makes one"
            raise ConfigurationError(msg)
        if not _TYPE.fullmatch(type):
            msg = "the type of an event is written like invoice.paid"
            raise ConfigurationError(msg)
        if id is not None and not _EVENT_ID.fullmatch(id):
            msg = "the id of an event begins with evt_, and letters, digits and _ follow"
            raise ConfigurationError(msg)
        if created is not None and not isinstance(created, int):
            if created.tzinfo is None:
                msg = "created needs a time zone: datetime(2026, 11, 2, tzinfo=UTC)"
                raise ConfigurationError(msg)
            created = int(created.timestamp())
        try:
            about = copied(dict(object))
            previous = None if previous_attributes is None else copied(dict(previous_attributes))
        except (TypeError, ValueError, RecursionError):
            msg = "the object of an event is JSON: dicts, lists, text, numbers, booleans and None"
            raise ConfigurationError(msg) from None
        row = machine.emit(
            Happening(type, about, previous),
            where,
            identity=id,
            created=created,
            version=None if api_version is None else check_version(api_version),
            livemode=livemode,
        )
        self.deliver()
        result: Row = copied(shown(row))
        return result

    def resend(self, event: str, endpoint: Endpoint | str | None = None) -> int:
        """
        Deliver an event again, as the Dashboard and the CLI do, and return to how many endpoints.

        *endpoint*: to this one, whether or not it wants such events; otherwise to all that do. It cancels no retry: what failed before is also tried
        again when it is due, even if this arrives. If this fails, it is not tried again by itself.

        Raises:
            ConfigurationError: There is no such event, it is older than 30 days, or there is no such endpoint.
        """
        machine = self._bound()
        found = machine.find_event(event)
        if found is None or found[1]["created"] <= machine.clock.timestamp - RETENTION:
            msg = "the sandbox has no such event, or it is older than 30 days"
            raise ConfigurationError(msg)
        account, row = found
        endpoints = list(self._directory.interested(account, row)) if endpoint is None else [self._directory.find(endpoint)]
        for parcel in self._parcels(account, row, endpoints):
            self._dispatch.send(replace(parcel, resent=True))
        self.deliver()
        return len(endpoints)

    # Deliveries.

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt so far, in the order in which they ended: the latest 100,000 of them."""
        return self._dispatch.deliveries

    def wait(self, timeout: float = 10.0) -> None:
        """
        Return once everything that was sent so far has been delivered or has failed. What is due later is not waited for.

        Raises:
            TimeoutError: It took longer than *timeout* seconds.
            ConfigurationError: Coroutine functions wait for their event loop: ``await sandbox.webhooks.drain()``. Or this is inside a receiver, and
                would wait for itself.
        """
        self._dispatch.wait(timeout)

    def retry_failed(self) -> int:
        """Send again, newly signed, what failed at its last attempt, without waiting for its time. Returns how many deliveries that is."""
        sent = self._dispatch.retry_failed()
        self.deliver()
        return sent

    def deliver(self) -> None:
        """Call the functions for which something waits. Coroutine functions are left for ``drain()``."""
        self._dispatch.deliver()

    async def deliver_async(self) -> None:
        """As ``deliver()``, and await the coroutine functions."""
        await self._dispatch.drain()

    async def drain(self) -> None:
        """As ``deliver()``, with what a reordering held back, and await the coroutine functions."""
        self._dispatch.flush()
        await self._dispatch.drain()

    def move(self, moment: int) -> None:
        """
        Let time pass until *moment*: what falls due on the way, of the sandbox's own and of deliveries, happens in order.

        URLs are waited for. Deliveries to coroutine functions wait for their event loop.
        """
        machine = self._bound()
        self._dispatch.flush()
        self._dispatch.rest()
        while True:
            due = [when for when in (machine.next_due(), self._dispatch.next_due()) if when is not None and when <= moment]
            if not due:
                break
            machine.move(min(due))
            self._dispatch.leave(min(due))
            self._dispatch.flush()
            self._dispatch.rest()
        machine.move(moment)
        self.deliver()

    def close(self) -> None:
        """Stop delivering. What waits is forgotten."""
        self._dispatch.close()

    # What the machine asks, with its lock held.

    def post(self, account: Account, event: Row) -> None:
        """Take an event for delivery, and write into it how many endpoints want it."""
        endpoints = list(self._directory.interested(account, event))
        event["pending_webhooks"] = len(endpoints)
        if endpoints:
            self._dispatch.expect(account.id, event["id"], {endpoint.id for endpoint in endpoints})
            for parcel in self._parcels(account, event, endpoints):
                self._dispatch.admit(parcel)

    def _parcels(self, account: Account, event: Row, endpoints: Sequence[Endpoint]) -> list[Parcel]:
        bodies = Bodies(event, account)
        return [
            Parcel(event["id"], type_for(endpoint, event) or event["type"], account.id, endpoint, bodies.body(endpoint))
            for endpoint in endpoints
        ]

    def _bound(self) -> Machine:
        if self._machine is None:
            msg = "these webhooks belong to no sandbox"
            raise ConfigurationError(msg)
        return self._machine
