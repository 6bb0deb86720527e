"""Finds the lanes that have something to do and that nobody was told of."""

from __future__ import annotations

import contextlib
import logging
import random
from typing import TYPE_CHECKING

from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from atom_stripe.protocols.engines import LaneQueue
    from atom_stripe.protocols.inbox import InboxStore

_LOGGER = logging.getLogger("atom_stripe.engines")
_PAGE = 5000
_AFTER_FAILURE = 1.0
_SWEPT = "engine.swept_at"


class Sweeper:
    """
    Looks through the pending events every *interval* seconds, in one of all processes: which one is first tells the others in the store.

    An event that is due and that no live claim holds gets its lane an alarm: a retry whose process is gone, an event whose job or
    notification was lost, one that an operator replayed. *nudge*: gives lanes an alarm, unless they have one of ours already. If that fails,
    this process drains them itself. *tend*: what else is to be done every so often.
    """

    def __init__(
        self,
        store: InboxStore,
        lanes: LaneQueue,
        interval: float,
        *,
        nudge: Callable[[Sequence[str]], int],
        tend: Callable[[], object],
    ) -> None:
        self.recovered = 0
        self._store = store
        self._lanes = lanes
        self._interval = interval
        self._nudge = nudge
        self._tend = tend

    def run(self, stop: Event) -> None:
        """Sweep until *stop* is set."""
        while not stop.is_set():
            try:
                pause = self._turn()
            except Exception as error:  # noqa: BLE001 - a sweeper that ended is the one thing that nobody would notice
                # The driver's words can hold values; a StoreError's cannot.
                told = str(error) if isinstance(error, StoreError) else type(error).__name__
                _LOGGER.warning("could not look for forgotten events: %s", told)
                pause = _AFTER_FAILURE
            # The jitter keeps processes that began together apart.
            stop.wait(pause * random.uniform(1.0, 1.1))  # noqa: S311 - spreads load, guards nothing

    def _turn(self) -> float:
        """Sweep, if nobody did lately. Returns the seconds until the next one."""
        left = self._left()
        if left > 0:
            return left
        self._store.keep(_SWEPT, repr(self._lanes.now()))
        self.sweep()
        self._tend()
        return self._interval

    def _left(self) -> float:
        swept: float | None = None
        with contextlib.suppress(ValueError):
            swept = float(self._store.value(_SWEPT) or "nan")
        age = float("nan") if swept is None else self._lanes.now() - swept
        # What lies in the future was written by another clock.
        return self._interval - age if 0 <= age < self._interval else 0.0

    def sweep(self) -> int:
        """Give every lane an alarm that is due and has none. Returns how many."""
        found = 0
        for lanes in self._forgotten():
            try:
                found += self._nudge(lanes)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the engine, its events are handled
                _LOGGER.warning(
                    "the engine takes no wake-ups (%s); %d lanes are drained without it", type(error).__name__, len(lanes)
                )
                for lane in lanes:
                    self._lanes.offer(lane)
                found += len(lanes)
        if found:
            self.recovered += found
            _LOGGER.info("%d lanes were due and had no alarm", found)
        return found

    def _forgotten(self) -> Iterator[list[str]]:
        """Yield the lanes whose first pending event is due and free, a page at a time."""
        seen: set[str] = set()
        after = 0
        while True:
            page = self._store.waiting(after, _PAGE)
            now = self._lanes.now()
            due: list[str] = []
            for event in page:
                after = event.id
                if event.lane in seen:
                    continue
                seen.add(event.lane)
                if max(event.due_at or 0.0, event.run_until or 0.0) <= now:
                    due.append(event.lane)
            if due:
                yield due
            if len(page) < _PAGE:
                return
