"""A worker: threads that drain lanes, and what tells them which: an engine, or, without one, a thread that looks into the store."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, cast

from atom_stripe._engine.inbox.bundles import Bundler
from atom_stripe.errors import StoreError
from atom_stripe.protocols.engines import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe._engine.inbox.flights import Claimed, Flights
    from atom_stripe._engine.inbox.loop import Bridge
    from atom_stripe._engine.inbox.runner import Drained, Runner
    from atom_stripe._engine.inbox.scheduler import Scheduler
    from atom_stripe.protocols import BundlingInboxStore, Engine

_LOGGER = logging.getLogger("atom_stripe.inbox")
_PAGE = 5000
# Ids become visible in another order than they were given, so a look for new ones goes back a little.
_OVERLAP = 500
# Threads that took the place of those whose handler never ended. Beyond it something is so wrong that more threads are no help.
_MOST_REPLACED = 64
_LONGEST_BACKOFF = 5.0
# Seconds for handlers that were cancelled, and for the claims of those that cannot be.
_LAST = 2.0
# Seconds for an engine to give its jobs back.
_FAREWELL = 5.0


class Worker:
    """One ``run_worker()``, from its beginning to its end."""

    def __init__(self, scheduler: Scheduler, runner: Runner, flights: Flights, engine: Engine | None) -> None:
        # A plain attribute, because a signal handler may set it.
        self.stopping = False
        self.scheduler = scheduler
        self.runner = runner
        around = runner.around
        self._store, self._config, self._registry = around.store, around.config, around.registry
        self._pauses, self._tally = around.pauses, around.tally
        self._flights = flights
        self._bundler: Bundler | None = None
        if getattr(self._store, "bundles", False):
            store = cast("BundlingInboxStore", self._store)
            self._bundler = Bundler(store, scheduler, runner, flights, stopping=lambda: self.stopping, let_go=self._replace)
        # None also when it has failed: nothing is lost, it is looked for.
        self._engine = engine
        self._told: threading.Thread | None = None
        self._stop = threading.Event()
        self._cancel: Callable[[], object] | None = None
        self._threads: list[threading.Thread] = []
        self._replaced = 0
        self._last = 0
        self._recovered = 0

    def start(self, bridge: Bridge | None, cancel: Callable[[], object] | None) -> None:
        """
        Begin: lanes are drained as soon as they are found.

        *bridge*: the event loop for async handlers, all of which *cancel* cancels.
        """
        self.runner.around.bridge = bridge
        self._cancel = cancel
        self._flights.start()
        self._spawn(self._look, "poll")
        if self._engine is not None:
            self._told = threading.Thread(target=self._hear, args=(self._engine,), name="atom-stripe-inbox-engine", daemon=True)
            self._told.start()
        if self._bundler is not None:
            threading.Thread(target=self._bundler.watch, name="atom-stripe-inbox-watch", daemon=True).start()
        for number in range(self._config.workers):
            self._spawn(self._work, str(number))

    def finish(self, grace: float) -> None:
        """End: what runs has *grace* seconds, and what does not end by then is released, for another process to try again."""
        self._halt()
        self._join(grace)
        if self._cancel is not None and any(thread.is_alive() for thread in self._threads):
            # Async handlers can be cancelled, and undo what they did before their claims are released.
            self._cancel()
            self._join(_LAST)
        if self._bundler is not None:
            self._bundler.finish(_LAST)
        late = [flight.run for flight in self._flights.under_way() if flight.abandon(late_only=False) is not None]
        if late:
            # In a thread: a handler that does not end may hold what the store would have to wait for.
            release = threading.Thread(target=self._release, args=(late,), name="atom-stripe-inbox-release", daemon=True)
            release.start()
            release.join(_LAST)
        self._flights.stop()
        if self._told is not None:
            self._told.join(_FAREWELL)

    def _join(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _release(self, runs: list[str]) -> None:
        for run in runs:
            self._tally.count("released")
            try:
                self._store.release(run)
            except StoreError as error:
                _LOGGER.warning("a claim could not be released, and will run out: %s", error)

    def _halt(self) -> None:
        self.stopping = True
        self._stop.set()
        left = self.scheduler.stop()
        if left:
            self._spawn(lambda: self._give_back(left), "give-back")

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=f"atom-stripe-inbox-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        """Drain lanes, until the end."""
        failures = 0
        while (turn := self.scheduler.turn()) is not None:
            if self.stopping:
                self._give_back([turn.claimed] if turn.claimed else [])
                return
            together = self._bundler if turn.together else None
            drained = self._drain(turn.lanes[0], turn.claimed) if together is None else together.drain(turn)
            if drained.abandoned:
                # Another thread has taken this one's place.
                return
            if drained.released:
                # No other event should lose an attempt to a worker that ends.
                self._halt()
            failures = failures + 1 if drained.failed else 0
            if failures:
                self._stop.wait(min(0.1 * 2.0 ** min(failures, 10), _LONGEST_BACKOFF))

    def _drain(self, lane: str, claimed: Claimed | None) -> Drained:
        drained = self.runner.drain(lane, lambda: self.stopping, self._replace, claimed)
        if not drained.abandoned:
            self.scheduler.finish(lane, drained.due, again=drained.again or drained.released)
        return drained

    def _give_back(self, left: Sequence[Claimed]) -> None:
        if self._bundler is not None:
            self._bundler.give_back(left)

    def _replace(self, lane: str) -> None:
        """Go on with *lane* in another thread than the one that does not come back."""
        self.scheduler.finish(lane, again=True)
        self._replaced += 1
        if self._replaced <= _MOST_REPLACED and not self._stop.is_set():
            self._spawn(self._work, f"replacement-{self._replaced}")
        elif self._replaced > _MOST_REPLACED:
            _LOGGER.critical("%d handlers never ended; their threads are lost until this process restarts", self._replaced)

    def _look(self) -> None:
        """Look for events: through all of them at first and every so often, and else for new ones."""
        next_sweep = time.monotonic()
        while True:
            try:
                self._pauses.refresh(self._registry.all())
                if time.monotonic() >= next_sweep:
                    self._last = 0
                    next_sweep = time.monotonic() + self._config.sweep_interval
                    if self._tally.signals.wanted:
                        self._tally.signals.measured(self._store.counts())
                        self._count_recovered()
                if self._engine is None:
                    self._find(max(0, self._last - _OVERLAP))
            except StoreError as error:
                _LOGGER.warning("could not look for events: %s", error)
            except Exception:
                _LOGGER.exception("could not look for events")
            if self._stop.wait(self._config.poll_interval):
                return

    def _count_recovered(self) -> None:
        """Count what the engine's sweeper has found since it was last asked."""
        total = self._recovered if self._engine is None else self._engine.health().recovered
        if total > self._recovered:
            self._tally.count("recovered", total - self._recovered)
        self._recovered = total

    def _hear(self, engine: Engine) -> None:
        """Let the engine tell which lanes to drain."""
        config = self._config
        settings = EngineSettings(
            workers=config.workers, sweep_interval=config.sweep_interval, heartbeat_timeout=config.lease, grace=config.grace
        )
        try:
            engine.run(self.scheduler, self._stop, self._store, settings)
        except Exception:
            _LOGGER.exception("the engine failed; from now on this worker looks for events by itself")
            self._engine = None

    def _find(self, after: int) -> None:
        """Have the lanes of the events with ids above *after* looked at."""
        seen: set[str] = set()
        while not self._stop.is_set():
            page = self._store.waiting(after, _PAGE)
            for event in page:
                # The first of a lane is its head.
                if event.lane not in seen:
                    seen.add(event.lane)
                    due = max(event.due_at or 0.0, event.run_until or 0.0)
                    self.scheduler.offer(event.lane, due or None)
                after = event.id
            self._last = max(self._last, after)
            if len(page) < _PAGE:
                return
