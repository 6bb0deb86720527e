"""
Webhooks that cannot be lost: ``WebhookInbox`` and its async twin. They hold names, types and docstrings; every decision is in ``_engine``.

Source: https://docs.stripe.com/webhooks
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from atom_stripe._engine.drive import run
from atom_stripe._engine.inbox.background import AsyncBackgroundWorker, BackgroundWorker
from atom_stripe._engine.inbox.context import AsyncHandlerContext, HandlerContext
from atom_stripe._engine.inbox.core import InboxCore, in_thread, nothing
from atom_stripe._engine.inbox.gaps import AccountGaps, MissedEvent, ReconcileReport
from atom_stripe._engine.inbox.operated import Changes, InboxStatus, Inspection
from atom_stripe._engine.inbox.operating import InboxOperations
from atom_stripe._engine.inbox.reconciling import reconcile
from atom_stripe._engine.inbox.values import Park, Receipt, Retry
from atom_stripe.inbox_config import HandlerRetry, InboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from atom_stripe._engine.inbox.registry import Handler
    from atom_stripe.client import AsyncStripeClient, StripeClient
    from atom_stripe.inbox_config import Ordering, VersionPolicy
    from atom_stripe.metrics import Metrics
    from atom_stripe.models import Event, EventNotification
    from atom_stripe.oauth import AsyncOAuthManager, OAuthManager
    from atom_stripe.protocols import Engine, InboxStore
    from atom_stripe.webhooks import WebhookVerifier

F = TypeVar("F", bound="Callable[..., Any]")

__all__ = [
    "AccountGaps",
    "AsyncHandlerContext",
    "AsyncWebhookInbox",
    "Changes",
    "HandlerContext",
    "HandlerRetry",
    "InboxConfig",
    "InboxOperations",
    "InboxStatus",
    "Inspection",
    "MissedEvent",
    "Park",
    "Receipt",
    "ReconcileReport",
    "Retry",
    "WebhookInbox",
]


class WebhookInbox:
    """
    Stores what Stripe sends before it is answered, and has every event handled: in order for each object, by each handler once.

    ``receive()`` belongs into the endpoint that Stripe posts to, ``run_worker()`` into the same process or into others on the same store; any
    number of each. What is in the store survives both.

    Args:
        verifier: The ``WebhookVerifier`` with your endpoint's secret; of several endpoints, a mapping of their names to verifiers.
        store: Where events are kept, such as ``SqlInboxStore.from_url("sqlite:///stripe.db")``.
        client: What ``context.client`` and ``context.refetch()`` ask Stripe with; it stays yours to close.
        config: All other settings.
        lane: Which events are handled one after the other: those for which this returns the same text. Left out, those of one story: a
            subscription and its invoices, a payment with its charges, refunds and disputes, else one object. Accounts and modes are always apart.
        metrics: Where numbers go, such as ``OpenTelemetryMetrics()``; left out, nowhere.
        engine: What tells the workers of several machines what to do, such as ``PgQueuerEngine(url)``; *store* is in the same PostgreSQL then. Left
            out, each worker looks into the store every ``poll_interval``.
        clock: The time, in seconds since 1970.

    Raises:
        ConfigurationError: A setting is missing or malformed.
    """

    def __init__(
        self,
        verifier: WebhookVerifier | Mapping[str, WebhookVerifier],
        store: InboxStore,
        *,
        client: StripeClient | None = None,
        config: InboxConfig | None = None,
        lane: Callable[[Event | EventNotification], str] | None = None,
        metrics: Metrics | None = None,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._core = InboxCore(
            verifier,
            store,
            client=client,
            config=config,
            lane=lane,
            metrics=metrics,
            engine=engine,
            clock=clock,
            asynchronous=False,
        )

    @property
    def config(self) -> InboxConfig:
        """The settings of this inbox."""
        return self._core.config

    @property
    def store(self) -> InboxStore:
        """The store of this inbox."""
        return self._core.store

    @property
    def engine(self) -> Engine | None:
        """What tells the workers of several machines what to do; ``health()`` says how it is doing in this process."""
        return self._core.engine

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The registered handlers by name, in the order in which they run."""
        return self._core.handlers()

    @property
    def operations(self) -> InboxOperations:
        """What operators do: look, replay, requeue, discard, purge, pause. Its methods wait for the store."""
        return self._core.operations

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the webhook endpoints whose deliveries this inbox takes."""
        return self._core.intake.endpoints

    @property
    def counts(self) -> Mapping[str, int]:
        """What this process has counted: deliveries by outcome, attempts by outcome, claims lost, timeouts."""
        return self._core.tally.counts()

    def receive(
        self, body: bytes | bytearray | memoryview | str, signature: str | bytes | None, *, endpoint: str | None = None
    ) -> Receipt:
        """
        Verify and store one delivery. Answer Stripe with 200 when this returns.

        What it returned for survives a crash. The same event delivered again, at once or later, is stored once; one that was parked
        is tried again. Bytes that are signed and yet not an event are kept and parked too, because Stripe would send them for days.

        Args:
            body: The request's body exactly as it came.
            signature: The header ``Stripe-Signature``.
            endpoint: At which of your endpoints it arrived, if there are several.

        Raises:
            WebhookError: It is not from Stripe, too old, or too large. Answer 400; nothing of it was kept.
            InboxBusyError: It could not be stored now. Answer 503 with ``Retry-After``: Stripe delivers again.
            ConfigurationError: There is no such endpoint.
        """
        return self._core.receive(body, signature, endpoint)

    def on(
        self,
        *types: str,
        name: str | None = None,
        ordering: Ordering = "object",
        retry: HandlerRetry | None = None,
        timeout: float | None = None,
        versions: VersionPolicy = "accept",
    ) -> Callable[[F], F]:
        """
        Register a handler: ``@inbox.on("invoice.paid", "customer.*")`` above ``def handle(event, context)``.

        A handler is done when it returns. When it raises, what it did on ``context.connection`` is undone, and it is tried again, it alone; when its
        attempts are used up, the event is parked. Attempts are counted before they are made, so one that kills its process is parked too.

        Args:
            types: The types of events, thin ones with their ``v1.`` or ``v2.``; ``customer.*`` is all that begin so, ``*`` is every one.
            name: What its state is kept under: unique, and the same for ever. Left out, its module and name.
            ordering: ``"object"``: while it waits for another attempt, later events of the lane wait too. ``"none"``: they do not.
            retry: How often and when to try again; left out, the config's.
            timeout: Seconds for one attempt; left out, the config's. An async handler is then cancelled. A sync one cannot be: it has ``overrun``
                seconds more, and then its event goes on without it.
            versions: What to do with events of another major version of Stripe's API than ours.

        Raises:
            ConfigurationError: The name is taken, or an argument is malformed.
        """
        return self._core.on(types, name=name, ordering=ordering, retry=retry, timeout=timeout, versions=versions)

    def pause(self, name: str, *, actor: str = "program") -> None:
        """
        Have the handler *name* run no more, in every process within ``poll_interval``: its events wait, and hold up no other handler.

        *actor*: who wants it, for the audit log.

        Raises:
            ConfigurationError: There is no such handler.
            StoreError: The store is away.
        """
        self._core.pause(name, actor)

    def resume(self, name: str, *, actor: str = "program") -> int:
        """
        Let a paused handler go on, with what has waited for it first, and return how many events that were.

        Raises:
            ConfigurationError: There is no such handler.
            StoreError: The store is away.
        """
        return self._core.resume(name, actor)

    def paused(self) -> tuple[str, ...]:
        """Return the names of the handlers that are paused."""
        return self._core.paused()

    def reconcile(
        self,
        client: StripeClient | None = None,
        *,
        accounts: Iterable[str] = (),
        oauth: OAuthManager | None = None,
        own: bool = True,
        types: Iterable[str] = (),
        delivery_success: bool | None = None,
        since: datetime | float | None = None,
        overlap: float = 3600.0,
        dry_run: bool = False,
        actor: str = "program",
        on_progress: Callable[[AccountGaps], object] | None = None,
    ) -> ReconcileReport:
        """
        Compare the inbox with Stripe's list of events, and store what is missing as if it had been delivered: see the report.

        Run it every few hours, and after an outage. It begins an hour before the end of the last run, the first time 30 days back, which is as far as
        Stripe lists. Events that are here are left alone, parked ones too, so it can be run again at any time, and one that was interrupted
        goes on where it was. Memory is bounded; the client's rate limits are kept.

        Args:
            client: Whom to ask; left out, the inbox's own client. Its key says which mode is compared.
            accounts: Connected accounts to compare beside your own.
            oauth: An ``OAuthManager``: all accounts that it connects are compared too.
            own: Whether your own account is compared.
            types: Only events of these types, 20 at most; ``customer.*`` is all that begin so. Each choice has a cursor of its own.
            delivery_success: ``False``: only events that did not reach every endpoint. Those that no endpoint wants are not among them.
            since: Go back to this moment: a ``datetime`` with a zone, or seconds since 1970.
            overlap: How many seconds before the end of the last run to begin.
            dry_run: Report what is missing, store nothing.
            actor: Who wants it, for the audit log.
            on_progress: Called with what was found so far of the account at hand.

        Raises:
            ConfigurationError: There is no client, or an argument is malformed. ``ModeMismatchError``: modes do not fit.
            StoreError: The store is away. What was stored before stays.
            APIError, TransportError: Stripe did not list. For connected accounts, the report says so, and the next one has its turn.
        """
        return run(
            reconcile(
                self._core,
                client,
                accounts=accounts,
                oauth=oauth,
                own=own,
                types=types,
                delivery_success=delivery_success,
                since=since,
                overlap=overlap,
                dry_run=dry_run,
                actor=actor,
                on_progress=on_progress,
            )
        )

    def run_worker(self) -> None:
        """
        Handle events until ``stop()`` is called: those in the store, and those that come.

        Any number of processes may do so for one store. It outlives errors of handlers and absences of the store. When it is stopped, handlers have
        ``grace`` seconds to end; what does not is handed back, to be tried again. Signals are left to the program.

        Raises:
            ConfigurationError: This inbox has a worker in this process already.
        """
        self._core.run(nothing)

    def worker(self) -> BackgroundWorker:
        """
        Return a worker that runs beside the program, for as long as a block does: ``with inbox.worker():`` (``async with`` in async programs).
        """
        return BackgroundWorker(self._core)

    def stop(self) -> None:
        """Have ``run_worker()`` end soon. May be called from any thread and from signal handlers; without a worker nothing happens."""
        self._core.stop()

    def close(self) -> None:
        """Store what is being received, and receive no more. The store stays yours to close. Twice is harmless."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"WebhookInbox({self._core.describe()})"


class AsyncWebhookInbox:
    """
    Stores what Stripe sends before it is answered, and has every event handled: in order for each object, by each handler once.

    ``receive()`` belongs into the endpoint that Stripe posts to, ``run_worker()`` into the same process or into others on the same store; any
    number of each. What is in the store survives both.

    Args:
        verifier: The ``WebhookVerifier`` with your endpoint's secret; of several endpoints, a mapping of their names to verifiers.
        store: Where events are kept, such as ``SqlInboxStore.from_url("sqlite:///stripe.db")``.
        client: What ``context.client`` and ``context.refetch()`` ask Stripe with; it stays yours to close.
        config: All other settings.
        lane: Which events are handled one after the other: those for which this returns the same text. Left out, those of one story: a
            subscription and its invoices, a payment with its charges, refunds and disputes, else one object. Accounts and modes are always apart.
        metrics: Where numbers go, such as ``OpenTelemetryMetrics()``; left out, nowhere.
        engine: What tells the workers of several machines what to do, such as ``PgQueuerEngine(url)``; *store* is in the same PostgreSQL then. Left
            out, each worker looks into the store every ``poll_interval``.
        clock: The time, in seconds since 1970.

    Raises:
        ConfigurationError: A setting is missing or malformed.
    """

    def __init__(
        self,
        verifier: WebhookVerifier | Mapping[str, WebhookVerifier],
        store: InboxStore,
        *,
        client: AsyncStripeClient | None = None,
        config: InboxConfig | None = None,
        lane: Callable[[Event | EventNotification], str] | None = None,
        metrics: Metrics | None = None,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._core = InboxCore(
            verifier, store, client=client, config=config, lane=lane, metrics=metrics, engine=engine, clock=clock, asynchronous=True
        )

    @property
    def config(self) -> InboxConfig:
        """The settings of this inbox."""
        return self._core.config

    @property
    def store(self) -> InboxStore:
        """The store of this inbox."""
        return self._core.store

    @property
    def engine(self) -> Engine | None:
        """What tells the workers of several machines what to do; ``health()`` says how it is doing in this process."""
        return self._core.engine

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The registered handlers by name, in the order in which they run."""
        return self._core.handlers()

    @property
    def operations(self) -> InboxOperations:
        """What operators do: look, replay, requeue, discard, purge, pause. Its methods wait for the store."""
        return self._core.operations

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the webhook endpoints whose deliveries this inbox takes."""
        return self._core.intake.endpoints

    @property
    def counts(self) -> Mapping[str, int]:
        """What this process has counted: deliveries by outcome, attempts by outcome, claims lost, timeouts."""
        return self._core.tally.counts()

    async def receive(
        self, body: bytes | bytearray | memoryview | str, signature: str | bytes | None, *, endpoint: str | None = None
    ) -> Receipt:
        """
        Verify and store one delivery. Answer Stripe with 200 when this returns.

        What it returned for survives a crash. The same event delivered again, at once or later, is stored once; one that was parked
        is tried again. Bytes that are signed and yet not an event are kept and parked too, because Stripe would send them for days.

        Args:
            body: The request's body exactly as it came.
            signature: The header ``Stripe-Signature``.
            endpoint: At which of your endpoints it arrived, if there are several.

        Raises:
            WebhookError: It is not from Stripe, too old, or too large. Answer 400; nothing of it was kept.
            InboxBusyError: It could not be stored now. Answer 503 with ``Retry-After``: Stripe delivers again.
            ConfigurationError: There is no such endpoint.
        """
        return await self._core.receive_async(body, signature, endpoint)

    def on(
        self,
        *types: str,
        name: str | None = None,
        ordering: Ordering = "object",
        retry: HandlerRetry | None = None,
        timeout: float | None = None,
        versions: VersionPolicy = "accept",
    ) -> Callable[[F], F]:
        """
        Register a handler: ``@inbox.on("invoice.paid", "customer.*")`` above ``def handle(event, context)``.

        A handler is done when it returns. When it raises, what it did on ``context.connection`` is undone, and it is tried again, it alone; when its
        attempts are used up, the event is parked. Attempts are counted before they are made, so one that kills its process is parked too.

        Args:
            types: The types of events, thin ones with their ``v1.`` or ``v2.``; ``customer.*`` is all that begin so, ``*`` is every one.
            name: What its state is kept under: unique, and the same for ever. Left out, its module and name.
            ordering: ``"object"``: while it waits for another attempt, later events of the lane wait too. ``"none"``: they do not.
            retry: How often and when to try again; left out, the config's.
            timeout: Seconds for one attempt; left out, the config's. An async handler is then cancelled. A sync one cannot be: it has ``overrun``
                seconds more, and then its event goes on without it.
            versions: What to do with events of another major version of Stripe's API than ours.

        Raises:
            ConfigurationError: The name is taken, or an argument is malformed.
        """
        return self._core.on(types, name=name, ordering=ordering, retry=retry, timeout=timeout, versions=versions)

    async def pause(self, name: str, *, actor: str = "program") -> None:
        """
        Have the handler *name* run no more, in every process within ``poll_interval``: its events wait, and hold up no other handler.

        *actor*: who wants it, for the audit log.

        Raises:
            ConfigurationError: There is no such handler.
            StoreError: The store is away.
        """
        await in_thread(self._core.pause, name, actor)

    async def resume(self, name: str, *, actor: str = "program") -> int:
        """
        Let a paused handler go on, with what has waited for it first, and return how many events that were.

        Raises:
            ConfigurationError: There is no such handler.
            StoreError: The store is away.
        """
        return await in_thread(self._core.resume, name, actor)

    async def paused(self) -> tuple[str, ...]:
        """Return the names of the handlers that are paused."""
        return await in_thread(self._core.paused)

    async def reconcile(
        self,
        client: AsyncStripeClient | None = None,
        *,
        accounts: Iterable[str] = (),
        oauth: AsyncOAuthManager | None = None,
        own: bool = True,
        types: Iterable[str] = (),
        delivery_success: bool | None = None,
        since: datetime | float | None = None,
        overlap: float = 3600.0,
        dry_run: bool = False,
        actor: str = "program",
        on_progress: Callable[[AccountGaps], object] | None = None,
    ) -> ReconcileReport:
        """
        Compare the inbox with Stripe's list of events, and store what is missing as if it had been delivered: see the report.

        Run it every few hours, and after an outage. It begins an hour before the end of the last run, the first time 30 days back, which is as far as
        Stripe lists. Events that are here are left alone, parked ones too, so it can be run again at any time, and one that was interrupted
        goes on where it was. Memory is bounded; the client's rate limits are kept.

        Args:
            client: Whom to ask; left out, the inbox's own client. Its key says which mode is compared.
            accounts: Connected accounts to compare beside your own.
            oauth: An ``OAuthManager``: all accounts that it connects are compared too.
            own: Whether your own account is compared.
            types: Only events of these types, 20 at most; ``customer.*`` is all that begin so. Each choice has a cursor of its own.
            delivery_success: ``False``: only events that did not reach every endpoint. Those that no endpoint wants are not among them.
            since: Go back to this moment: a ``datetime`` with a zone, or seconds since 1970.
            overlap: How many seconds before the end of the last run to begin.
            dry_run: Report what is missing, store nothing.
            actor: Who wants it, for the audit log.
            on_progress: Called with what was found so far of the account at hand.

        Raises:
            ConfigurationError: There is no client, or an argument is malformed. ``ModeMismatchError``: modes do not fit.
            StoreError: The store is away. What was stored before stays.
            APIError, TransportError: Stripe did not list. For connected accounts, the report says so, and the next one has its turn.
        """
        return await reconcile(
            self._core,
            client,
            accounts=accounts,
            oauth=oauth,
            own=own,
            types=types,
            delivery_success=delivery_success,
            since=since,
            overlap=overlap,
            dry_run=dry_run,
            actor=actor,
            on_progress=on_progress,
        )

    async def run_worker(self) -> None:
        """
        Handle events until ``stop()`` is called: those in the store, and those that come.

        Any number of processes may do so for one store. It outlives errors of handlers and absences of the store. When it is stopped, handlers have
        ``grace`` seconds to end; what does not is handed back, to be tried again. Signals are left to the program.

        Raises:
            ConfigurationError: This inbox has a worker in this process already.
        """
        await self._core.run_async(nothing)

    def worker(self) -> AsyncBackgroundWorker:
        """
        Return a worker that runs beside the program, for as long as a block does: ``with inbox.worker():`` (``async with`` in async programs).
        """
        return AsyncBackgroundWorker(self._core)

    def stop(self) -> None:
        """Have ``run_worker()`` end soon. May be called from any thread and from signal handlers; without a worker nothing happens."""
        self._core.stop()

    async def close(self) -> None:
        """Store what is being received, and receive no more. The store stays yours to close. Twice is harmless."""
        await in_thread(self._core.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncWebhookInbox({self._core.describe()})"
