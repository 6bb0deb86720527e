"""What a handler is given beside the event."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.inbox.refetching import path_of, with_current
from atom_stripe._engine.inbox.transactions import AsyncConnection, Transaction
from atom_stripe.errors import ConfigurationError, ModeMismatchError
from atom_stripe.models.event import Event, EventNotification

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.inbox.loop import Bridge, Mailbox
    from atom_stripe._engine.inbox.registry import Handler
    from atom_stripe.models.base import StripeObject
    from atom_stripe.protocols import InboxRecord, InboxStore


class Run:
    """One run of one handler with one event."""

    def __init__(self, store: InboxStore, client: Any, record: InboxRecord, handler: Handler, attempt: int) -> None:
        self.record = record
        self.handler = handler
        self.attempt = attempt
        self.transaction = Transaction(store)
        self._client = client

    def key(self) -> str:
        """Return the idempotency key of this handler with this event."""
        record = self.record
        parts = (record.account, "live" if record.livemode else "test", record.event_id, self.handler.name)
        return "inbox_" + sha256("\n".join(parts).encode()).hexdigest()[:48]

    def client(self, event: Event | EventNotification) -> Any:
        """Return the client, acting for the account of *event*."""
        client = self._client
        if client is None:
            msg = "this inbox has no client: make it with client="
            raise ConfigurationError(msg)
        if client.config.livemode != self.record.livemode:
            modes = ("live", "test") if self.record.livemode else ("test", "live")
            msg = f"this is an event of {modes[0]} mode, and the client's key is one for {modes[1]} mode"
            raise ModeMismatchError(msg)
        if isinstance(event, EventNotification):
            return client.with_options(stripe_context=event.context) if event.context else client
        return client.with_options(stripe_account=self.record.account) if self.record.account else client


class _Context:
    """What both colours have."""

    def __init__(self, run: Run, event: Event | EventNotification) -> None:
        self._run = run
        self._event = event

    @property
    def idempotency_key(self) -> str:
        """
        A text that is the same whenever this handler runs with this event, and no other has.

        Pass it on when the handler calls out, with a suffix if it does so more than once: it may run again after it took effect.
        """
        return self._run.key()

    @property
    def attempt(self) -> int:
        """Which attempt of this handler with this event this is, from 1."""
        return self._run.attempt

    @property
    def event_record(self) -> InboxRecord:
        """The event as it is stored, with the states of all its handlers when it was claimed."""
        return self._run.record

    @property
    def account(self) -> str | None:
        """The connected account that the event arose in, ``None`` for your own."""
        return self._run.record.account or None

    @property
    def livemode(self) -> bool:
        """Whether the event is of live mode."""
        return self._run.record.livemode


class HandlerContext(_Context):
    """What a handler is given beside the event. It is for this one run, and for the handler's own thread or task."""

    def __init__(self, run: Run, event: Event | EventNotification, link: Bridge | None) -> None:
        super().__init__(run, event)
        self._bridge = link

    @property
    def connection(self) -> Any:
        """
        The database transaction in which the inbox notes that this handler is done: what is done on it happens exactly once.

        It begins when this is first used, is committed when the handler returns, and is undone when it raises. Of a SQL store it is a SQLAlchemy
        connection. On SQLite nobody else can write meanwhile, so keep it short there: fetch first, write then.
        """
        return self._run.transaction.connection()

    @property
    def client(self) -> Any:
        """
        The inbox's client, acting for the account of the event.

        Raises:
            ConfigurationError: The inbox was made without one.
            ModeMismatchError: Its key is of the other mode than the event.
        """
        return self._run.client(self._event)

    def refetch(self) -> StripeObject:
        """
        Return the object that the event is about as Stripe has it now, which may be newer than the event.

        No other event of this object is handled meanwhile.

        Raises:
            EncodingError: The event is about nothing that can be fetched.
            APIError, TransportError: Stripe did not give it. An object that was deleted may be gone (404).
        """
        return fetch(self._run, self._event, self._bridge)


class AsyncHandlerContext(_Context):
    """What a handler is given beside the event. It is for this one run, and for the handler's own thread or task."""

    def __init__(self, run: Run, event: Event | EventNotification, link: Mailbox) -> None:
        super().__init__(run, event)
        self._mailbox = link

    @property
    def connection(self) -> AsyncConnection:
        """
        The database transaction in which the inbox notes that this handler is done: what is done on it happens exactly once.

        It begins when this is first used, is committed when the handler returns, and is undone when it raises. Of a SQL store it is a SQLAlchemy
        connection. On SQLite nobody else can write meanwhile, so keep it short there: fetch first, write then.
        """
        return AsyncConnection(self._run.transaction, self._mailbox)

    @property
    def client(self) -> Any:
        """
        The inbox's client, acting for the account of the event.

        Raises:
            ConfigurationError: The inbox was made without one.
            ModeMismatchError: Its key is of the other mode than the event.
        """
        return self._run.client(self._event)

    async def refetch(self) -> StripeObject:
        """
        Return the object that the event is about as Stripe has it now, which may be newer than the event.

        No other event of this object is handled meanwhile.

        Raises:
            EncodingError: The event is about nothing that can be fetched.
            APIError, TransportError: Stripe did not give it. An object that was deleted may be gone (404).
        """
        found: StripeObject = await self._run.client(self._event).request("GET", path_of(self._event))
        return found


def fetch(run: Run, event: Event | EventNotification, bridge: Bridge | None) -> StripeObject:
    """Return the object of *event* as it is now; with an async client, through the event loop of *bridge*."""
    client, path = run.client(event), path_of(event)
    ask: Callable[[], Any] = lambda: client.request("GET", path)  # noqa: E731 - a thunk in two colours
    found: StripeObject = ask() if bridge is None else bridge.call(ask)
    return found


def refetched(run: Run, event: Event | EventNotification, bridge: Bridge | None) -> Event | EventNotification:
    """Return *event* with its object as it is now."""
    return with_current(event, fetch(run, event, bridge)) if isinstance(event, Event) else event
