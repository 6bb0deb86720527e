"""An inbox: what both colours are made of."""

from __future__ import annotations

import inspect
import logging
import os
import queue
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import anyio.to_thread

from atom_stripe._engine.inbox.flights import Flights
from atom_stripe._engine.inbox.group_commit import GroupCommit
from atom_stripe._engine.inbox.handling import Surroundings
from atom_stripe._engine.inbox.intake import Intake
from atom_stripe._engine.inbox.loop import Bridge, outcome, poster
from atom_stripe._engine.inbox.operating import InboxOperations
from atom_stripe._engine.inbox.pace import Pace
from atom_stripe._engine.inbox.pauses import Pauses
from atom_stripe._engine.inbox.registry import Registry, handler_of
from atom_stripe._engine.inbox.runner import Runner
from atom_stripe._engine.inbox.scheduler import Scheduler
from atom_stripe._engine.inbox.signals import Signals
from atom_stripe._engine.inbox.store_time import StoreTime
from atom_stripe._engine.inbox.tally import Tally
from atom_stripe._engine.inbox.worker import Worker
from atom_stripe._engine.process import ForkSafeLock
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.inbox_config import InboxConfig
from atom_stripe.protocols import AuditEntry, SqlWake
from atom_stripe.protocols.engines import NO_ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atom_stripe._engine.inbox.intake import Body, Lane
    from atom_stripe._engine.inbox.registry import Handler
    from atom_stripe._engine.inbox.values import Receipt
    from atom_stripe.inbox_config import HandlerRetry, Ordering, VersionPolicy
    from atom_stripe.metrics import Metrics
    from atom_stripe.protocols import Appended, Arrival, Engine, InboxStore, Wake

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")
_LOGGER = logging.getLogger("atom_stripe.inbox")
# Seconds. The kernel gives a signal to any thread, and Python runs its handler in the main thread once that wakes up, which may be the one
# that waits here for the end.
_LISTENING = 0.25


class InboxCore:
    """Everything that an inbox decides."""

    def __init__(
        self,
        verifier: object,
        store: InboxStore,
        *,
        client: Any,
        config: InboxConfig | None,
        lane: Lane | None,
        clock: Callable[[], float],
        asynchronous: bool,
        metrics: Metrics | None = None,
        engine: Engine | None = None,
    ) -> None:
        _check(store, client, config, lane, engine, asynchronous=asynchronous)
        self.store = store
        self.engine = engine
        self._waking = wake_of(engine)
        self.config = config or InboxConfig()
        self.client = client
        self.registry = Registry(asynchronous=asynchronous)
        self.tally = Tally(Signals(metrics, self.registry.all))
        self.pauses = Pauses(store)
        self.time = StoreTime(clock)
        self.appender = GroupCommit(
            store,
            writers=self.config.writers,
            room=self.config.queue_length,
            retry_after=self.config.retry_after,
            wake=self._waking,
            committing=self.tally.signals.stored_together,
        )
        self.intake = Intake(verifier, self.appender, self.config, lane=lane, clock=clock, tally=self.tally)
        self._clock = clock
        self._lock = ForkSafeLock()
        self._worker: Worker | None = None
        self._process = os.getpid()
        self._wake: Callable[[], object] = nothing
        self.operations = InboxOperations(store, handlers=self.handlers, wake=self.wake, clock=clock)

    # What comes in.

    def receive(self, body: Body, signature: str | bytes | None, endpoint: str | None) -> Receipt:
        """Store a delivery, and wait for it."""
        arrival = self.intake.arrival(body, signature, endpoint)
        pending = self.intake.submit(arrival)
        try:
            appended = pending.result(self.config.accept_timeout)
        except (StoreError, TimeoutError) as error:
            # What has not been begun must not be stored after Stripe was told that it is not.
            pending.cancel()
            raise self.intake.busy(error) from None
        return self._stored(arrival, appended)

    async def receive_async(self, body: Body, signature: str | bytes | None, endpoint: str | None) -> Receipt:
        """Store a delivery, and let others run meanwhile."""
        arrival = self.intake.arrival(body, signature, endpoint)
        pending = self.intake.submit(arrival)
        try:
            appended = await outcome(pending, self.config.accept_timeout)
        except (StoreError, TimeoutError) as error:
            # What has not been begun must not be stored after Stripe was told that it is not.
            pending.cancel()
            raise self.intake.busy(error) from None
        return self._stored(arrival, appended)

    def _stored(self, arrival: Arrival, appended: Appended | None) -> Receipt:
        stored = cast("Appended", appended)
        self.tally.signals.acknowledged(self._clock() - arrival.received_at)
        if stored.outcome != "duplicate" and self.engine is None:
            # An engine was told in the transaction that stored it.
            self.wake([stored.lane])
        return self.intake.receipt(arrival, stored)

    def append(self, arrivals: Sequence[Arrival]) -> Sequence[Appended | StoreError | None]:
        """Store *arrivals*, all that the store takes, and have their lanes looked at."""
        results = self.store.append(arrivals) if self._waking is None else self.store.append(arrivals, self._waking)
        self.intake.payments.stored(zip(arrivals, results, strict=False))
        if self._waking is not None:
            return results
        self.wake([found.lane for found in results if found is not None and not isinstance(found, StoreError)])
        return results

    def wake(self, lanes: Sequence[str]) -> None:
        """Have *lanes* looked at: by whom the engine chooses, else by the worker of this process, if there is one."""
        worker = self._worker
        if not lanes:
            return
        if self.engine is not None:
            try:
                self.engine.nudge(lanes)
            except StoreError as error:
                _LOGGER.warning("the engine takes no wake-ups, so these events wait for the next sweep: %s", error)
        elif worker is not None and self._process == os.getpid():
            for lane in lanes:
                worker.scheduler.offer(lane)

    # Handlers.

    def on(
        self,
        types: tuple[str, ...],
        *,
        name: str | None,
        ordering: Ordering,
        retry: HandlerRetry | None,
        timeout: float | None,
        versions: VersionPolicy,
    ) -> Callable[[F], F]:
        """Return what registers a function for *types*."""
        options = {
            "patterns": types,
            "ordering": ordering,
            "retry": self.config.retry if retry is None else retry,
            "timeout": self.config.timeout if timeout is None else timeout,
            "versions": versions,
        }

        def register(function: F) -> F:
            handler = handler_of(function, name, **options)
            self.registry.add(handler)
            if handler.versions == "refetch" and self.client is None:
                _LOGGER.warning("handler %s wants events refetched, and this inbox has no client", handler.name)
            return function

        return register

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by name."""
        return self.registry.all()

    def pause(self, name: str, actor: str) -> None:
        """Pause the handler *name*."""
        self.pauses.pause(self.registry.demand(name).name, self._entry("pause", name, actor))

    def resume(self, name: str, actor: str) -> int:
        """Let the handler *name* go on."""
        return self.pauses.resume(self.registry.demand(name).name, self._entry("resume", name, actor), self.wake)

    def paused(self) -> tuple[str, ...]:
        """Return the paused handlers."""
        return tuple(sorted(self.pauses.refresh(self.registry.all())))

    def _entry(self, action: str, name: str, actor: str) -> AuditEntry:
        return AuditEntry(at=self._clock(), actor=actor, action=action, subject=f"handler {name}")

    # The worker.

    def run(self, ready: Callable[[], object]) -> None:
        """Handle events until ``stop()``. *ready*: called when this can be stopped."""
        wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        # A SimpleQueue may be put to from a signal handler, whatever the thread is doing; an Event may not.
        worker = self._begin(lambda: wakes.put(None))
        try:
            worker.start(None, None)
            ready()
            while not _called(wakes):
                pass
        finally:
            self._end(worker)

    async def run_async(self, ready: Callable[[], object]) -> None:
        """Handle events until ``stop()``, async handlers in this event loop."""
        post, stopped = poster(), anyio.Event()
        # Outside of the group, which would wrap what it raises.
        worker = self._begin(lambda: post(stopped.set))
        try:
            async with anyio.create_task_group() as group:
                worker.start(Bridge(group), lambda: post(group.cancel_scope.cancel))
                try:
                    ready()
                    while not stopped.is_set():
                        with anyio.move_on_after(_LISTENING):
                            await stopped.wait()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(self._end, worker)
                    # The task that serves the bridge, too.
                    group.cancel_scope.cancel()
        finally:
            self._forget(worker)

    def stop(self) -> None:
        """Have the worker of this process end."""
        worker = self._worker
        if worker is not None and self._process == os.getpid():
            worker.stopping = True
            self._wake()

    def _begin(self, wake: Callable[[], object]) -> Worker:
        """Make the worker of this process, of which there is one."""
        with self._lock:
            if self._worker is not None and self._process == os.getpid():
                msg = "this inbox has a worker in this process already: it has as many threads as its config says"
                raise ConfigurationError(msg)
            # Made anew: what a forked child inherits are the claims of its parent.
            flights = Flights(self.store, self.config)
            pace = Pace()
            scheduler = Scheduler(self.time.now, pace if getattr(self.store, "bundles", False) else None)
            around = Surroundings(
                store=self.store,
                registry=self.registry,
                config=self.config,
                time=self.time,
                tally=self.tally,
                pauses=self.pauses,
                pace=pace,
                client=self.client,
                offer=scheduler.offer,
            )
            worker = Worker(scheduler, Runner(around, flights), flights, self.engine)
            self._worker, self._process, self._wake = worker, os.getpid(), wake
        return worker

    def _end(self, worker: Worker) -> None:
        try:
            worker.finish(self.config.grace)
        finally:
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        with self._lock:
            if self._worker is worker:
                self._worker, self._wake = None, nothing

    def close(self) -> None:
        """Store what was submitted, and take no more."""
        self.appender.close()

    def describe(self) -> str:
        """Return what a repr may show."""
        return f"{len(self.registry.all())} handlers, endpoints {', '.join(self.intake.endpoints)}"


def _check(store: Any, client: Any, config: object, lane: object, engine: Any, *, asynchronous: bool) -> None:
    append = getattr(store, "append", None)
    if append is None or inspect.iscoroutinefunction(append):
        msg = (
            "the second argument is an InboxStore, such as those in atom_stripe.stores; an inbox of either colour takes a sync one"
        )
        raise ConfigurationError(msg)
    if config is not None and not isinstance(config, InboxConfig):
        msg = f"config is an InboxConfig, not {type(config).__name__}"
        raise ConfigurationError(msg)
    if client is not None and inspect.iscoroutinefunction(getattr(client, "request", None)) != asynchronous:
        msg = "WebhookInbox takes a StripeClient, AsyncWebhookInbox an AsyncStripeClient"
        raise ConfigurationError(msg)
    if engine is not None and not getattr(store, "wakes", True):
        raise ConfigurationError(NO_ENGINE)
    if lane is not None and not callable(lane):
        msg = "lane is a function that takes an event and returns a text"
        raise ConfigurationError(msg)


def wake_of(engine: Engine | None) -> Wake | None:
    """Return what a store calls for *engine*, in the form that costs least."""
    if engine is None:
        return None
    sql = getattr(engine, "wake_sql", None)
    return engine.wake if sql is None else SqlWake(engine.wake, sql)


def _called(wakes: queue.SimpleQueue[None]) -> bool:
    try:
        wakes.get(timeout=_LISTENING)
    except queue.Empty:
        return False
    return True


def nothing() -> None:
    """Do nothing: there is no worker."""


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Return what *function* returns, called in a thread, because it waits for the store."""
    return await anyio.to_thread.run_sync(function, *args)
