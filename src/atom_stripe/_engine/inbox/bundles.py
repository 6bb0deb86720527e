"""
Bundles: fresh events that one thread claims in one transaction, handles one after the other, and whose last steps are written in one.

1. Only events that nobody ever claimed are bundled, and only those whose handlers have attempts to spare. When a process dies, every event of its
   bundle has been claimed once, and is handled by itself from then on: whoever killed the process cannot do it to the same neighbours twice.
2. Nobody waits long for a neighbour. What was not begun after ``LONGEST`` seconds goes to threads that have nothing to do, or else back to the
   store, for whoever comes first; and what was handled by then is written.
3. A handler that uses ``context.connection`` has its own transaction, as ever, and what it did is committed before the next event is handled.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from atom_stripe._engine.inbox.deciding import SELF
from atom_stripe._engine.inbox.flights import Claimed
from atom_stripe._engine.inbox.handling import WRITES
from atom_stripe._engine.inbox.pace import LONGEST
from atom_stripe._engine.inbox.runner import Drained, Handled
from atom_stripe.errors import StoreError
from atom_stripe.protocols import HandlerState, InboxRecord, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from atom_stripe._engine.inbox.flights import Flight, Flights
    from atom_stripe._engine.inbox.runner import Runner
    from atom_stripe._engine.inbox.scheduler import Scheduler, Turn
    from atom_stripe.protocols import BundlingInboxStore, Nothing

_LOGGER = logging.getLogger("atom_stripe.inbox")
# Attempts that handlers of bundled events have at least: one may be lost to a neighbour that killed the process.
_SPARE = 3
# The mark of the inbox says that the claims of an event are not the attempts of its first handler.
_NOT_BEGUN = {SELF: HandlerState(status="done")}


class Bundle:
    """What one thread has claimed together: the events that wait for their turn, and those that were handled. *turn*: of that thread."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._lock = threading.Lock()
        self._waiting: deque[Claimed] = deque()
        self._handled: list[Handled] = []
        self._until = 0.0

    def begin(self, claimed: Sequence[Claimed]) -> None:
        """Note what was *claimed*."""
        with self._lock:
            self._waiting.extend(claimed)
            self._until = time.monotonic() + LONGEST

    def next(self) -> Claimed | None:
        """Take the next event."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def add(self, handled: Handled) -> None:
        """Note an event whose last step is to be written."""
        with self._lock:
            self._handled.append(handled)

    @property
    def is_late(self) -> bool:
        """Whether something waits for too long."""
        return bool(self._waiting or self._handled) and time.monotonic() > self._until

    def take(self) -> tuple[list[Claimed], list[Handled]]:
        """Take all that waits, and all that was handled."""
        with self._lock:
            waiting, handled = list(self._waiting), self._handled
            self._waiting.clear()
            self._handled = []
        return waiting, handled


class Bundler:
    """
    Drains several lanes at a time. *stopping*: whether to begin no more. *let_go*: told of a lane whose handler does not end and that goes on
    without it.
    """

    def __init__(
        self,
        store: BundlingInboxStore,
        scheduler: Scheduler,
        runner: Runner,
        flights: Flights,
        *,
        stopping: Callable[[], bool],
        let_go: Callable[[str], None],
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._runner = runner
        self._flights = flights
        self._around = runner.around
        self._stopping = stopping
        self._let_go = let_go
        self._lock = threading.Lock()
        self._bundles: set[Bundle] = set()
        self._any = threading.Event()
        self._ended = False

    def drain(self, turn: Turn) -> Drained:
        """Handle the heads of the lanes of *turn*, and then of others, until others are to have a turn. Each lane is finished here."""
        bundle, lanes, failed = Bundle(turn), turn.lanes, False
        self._begin(bundle)
        try:
            handled: list[Handled] = []
            while lanes or handled:
                claimed = self._write(handled, lanes)
                if claimed is None:
                    return Drained(failed=True)
                bundle.begin(claimed)
                ended = self._handle(bundle)
                if ended is not None and ended.abandoned:
                    return ended
                failed = failed or ended is not None
                waiting, handled = bundle.take()
                # No event should lose an attempt to a worker that ends.
                self.give_back(waiting)
                if ended is not None and ended.released:
                    self._write(handled, ())
                    return ended
                lanes = self._more(turn, handled)
        finally:
            self._take_over(bundle)
            self._end(bundle)
        return Drained(failed=failed)

    def _more(self, turn: Turn, handled: Sequence[Handled]) -> list[str]:
        """Return the lanes to claim in next: new ones, or, if there are none, those of what was *handled*."""
        lanes = None if self._stopping() else self._scheduler.more(turn)
        if lanes is None:
            return []
        return lanes or [one.claimed.record.lane for one in handled]

    def _handle(self, bundle: Bundle) -> Drained | None:
        """Handle what waits in *bundle*. Returns why it ended early, or that the store failed."""
        ended = None
        while not self._stopping() and (claimed := bundle.next()) is not None:
            lane = claimed.record.lane
            result = self._runner.handle(claimed, partial(self._abandon, bundle, lane))
            if isinstance(result, Handled):
                if result.step is not None:
                    bundle.add(result)
                    continue
                self._flights.end(claimed.flight)
                self._scheduler.finish(lane, again=True)
                continue
            if result.abandoned:
                return result
            self._scheduler.finish(lane, result.due, again=result.again or result.released)
            if result.released:
                return result
            ended = result if result.failed else ended
        return ended

    def _abandon(self, bundle: Bundle, lane: str) -> None:
        self._take_over(bundle)
        self._let_go(lane)

    def _take_over(self, bundle: Bundle) -> threading.Thread | None:
        """Give to others what waits in *bundle*, and write what was handled."""
        waiting, handled = bundle.take()
        self._scheduler.part(bundle.turn)
        left = [claimed for claimed in waiting if self._stopping() or not self._scheduler.hand_over(claimed)]
        if not (handled or left):
            return None

        def write() -> None:
            self._write(handled, ())
            self.give_back(left)

        # In a thread: the handler that it took too long for may hold what the store would have to wait for.
        thread = threading.Thread(target=write, name="atom-stripe-inbox-rest", daemon=True)
        thread.start()
        return thread

    def give_back(self, left: Sequence[Claimed]) -> None:
        """Let others have what was claimed and not begun, as if it had not been claimed."""
        if not left:
            return
        steps = [Step(id=record.id, run=flight.run, handlers=_NOT_BEGUN, status="pending") for record, flight in left]
        try:
            self._together(steps, {})
        except Exception as error:  # noqa: BLE001 - whatever it is, they run out
            _LOGGER.warning("claims could not be given back, and will run out: %s", error)
        for record, flight in left:
            self._flights.end(flight)
            self._scheduler.finish(record.lane, begun=True)

    def _write(self, handled: Sequence[Handled], lanes: Sequence[str]) -> list[Claimed] | None:
        """Write the last steps of what was *handled*, and claim in *lanes*. Returns what was claimed; ``None`` if the store failed."""
        flights = {lane: self._flights.begin() for lane in lanes}
        try:
            steps = [one.step for one in handled if one.step is not None]
            runs = {lane: flight.run for lane, flight in flights.items()}
            lost, found = self._together(steps, runs) if steps or runs else ((), {})
        except Exception as error:  # noqa: BLE001 - told apart there
            self._fail(handled, flights, error)
            return None
        for one in handled:
            self._flights.end(one.claimed.flight)
            if one.step in lost:
                self._around.tally.count("claims_lost")
                _LOGGER.warning("a claim was lost to another worker; its event is handled again")
            elif one.step is not None:
                one.handling.moved(one.step)
            if one.claimed.record.lane not in flights:
                self._scheduler.finish(one.claimed.record.lane, again=True)
        return [claimed for lane, flight in flights.items() if (claimed := self._claimed(lane, flight, found[lane]))]

    def _claimed(self, lane: str, flight: Flight, found: InboxRecord | Nothing | None) -> Claimed | None:
        if isinstance(found, InboxRecord):
            return Claimed(found, flight)
        self._flights.end(flight)
        if found is None:
            self._scheduler.finish(lane, begun=True)
        else:
            self._around.time.learn(found.now)
            self._scheduler.finish(lane, found.due_at)
        return None

    def _together(
        self, steps: Sequence[Step], claims: Mapping[str, str]
    ) -> tuple[Sequence[Step], Mapping[str, InboxRecord | Nothing | None]]:
        for pause in WRITES:
            try:
                return self._store.together(steps, claims, self._around.config.lease, self._fits)
            except StoreError as error:
                if not error.retryable:
                    raise
                time.sleep(pause)
                self._release(claims.values())
        return self._store.together(steps, claims, self._around.config.lease, self._fits)

    def _fits(self, type: str) -> bool:
        return all(handler.retry.attempts >= _SPARE for handler in self._around.registry.handlers(type, {}))

    def _release(self, runs: Iterable[str]) -> None:
        """End the claims of an attempt of which nobody knows whether it took effect."""
        try:
            for run in runs:
                self._store.release(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, they run out
            _LOGGER.info("claims could not be released, and will run out: %s", error)

    def _fail(self, handled: Sequence[Handled], flights: Mapping[str, Flight], error: Exception) -> None:
        """See to it that nothing is lost when the store failed: one step that it refuses must not keep the others from being written."""
        later = Drained(due=self._around.time.now() + 1.0 + random.random())  # noqa: S311 - spreads load, guards nothing
        refused = isinstance(error, StoreError) and not error.retryable
        if not (refused and handled):
            self._around.tally.count("store_failures")
            _LOGGER.warning("the store failed; lanes are tried again", exc_info=None if isinstance(error, StoreError) else error)
        if not refused:
            self._release([*(one.claimed.flight.run for one in handled), *(flight.run for flight in flights.values())])
        ends = dict.fromkeys(flights, later)
        for one in handled:
            ends[one.claimed.record.lane] = self._runner.write(one) if refused else later
        for flight in (*(one.claimed.flight for one in handled), *flights.values()):
            self._flights.end(flight)
        for lane, ended in ends.items():
            self._scheduler.finish(lane, ended.due, again=ended.again)

    def _begin(self, bundle: Bundle) -> None:
        with self._lock:
            self._bundles.add(bundle)
            self._any.set()

    def _end(self, bundle: Bundle) -> None:
        with self._lock:
            self._bundles.discard(bundle)
            if not (self._bundles or self._ended):
                self._any.clear()

    def _under_way(self) -> list[Bundle]:
        with self._lock:
            return list(self._bundles)

    def watch(self) -> None:
        """See to it that nothing waits for too long, until ``finish``."""
        while self._any.wait() and not self._ended:
            time.sleep(LONGEST / 2)
            for bundle in self._under_way():
                if bundle.is_late:
                    self._take_over(bundle)

    def finish(self, seconds: float) -> None:
        """Give back what was not begun and write what was handled, as far as it takes no longer than that."""
        until = time.monotonic() + seconds
        threads = [self._take_over(bundle) for bundle in self._under_way()]
        for thread in threads:
            if thread is not None:
                thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            self._ended = True
            self._any.set()
