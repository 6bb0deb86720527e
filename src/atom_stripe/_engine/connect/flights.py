"""One piece of work at a time for each key, however many callers ask, and it goes on when they stop asking."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from atom_stripe._engine.process import ForkSafeLock
from atom_stripe.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from atom_stripe._engine.connect.ports import Spawn
    from atom_stripe._engine.ports import Sleep

T = TypeVar("T")
_MOST_REMEMBERED = 10_000
_INTERRUPTED = "the work was interrupted: the event loop ended, or the task was cancelled"
_SHORTEST_LOOK, _LONGEST_LOOK = 0.002, 0.05


@dataclass(slots=True)
class _Table:
    """What is under way for one store, in one process."""

    process: int = field(default_factory=os.getpid)
    flights: dict[Hashable, Future[Any]] = field(default_factory=dict)
    failed: dict[Hashable, float] = field(default_factory=dict)
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)


# By store, so that two managers of one store, of either colour, share their work.
_TABLES: WeakKeyDictionary[Any, _Table] = WeakKeyDictionary()
_TABLES_LOCK = ForkSafeLock()


def _table(store: object) -> _Table:
    with _TABLES_LOCK:
        try:
            return _TABLES.setdefault(store, _Table())
        except TypeError:
            # A store without weak references: its managers do not share, and the lease in the store keeps them apart.
            return _Table()


class Flights:
    """The work under way for one store."""

    def __init__(self, store: object, spawn: Spawn, sleep: Sleep, clock: Callable[[], float]) -> None:
        self._shared = _table(store)
        self._spawn = spawn
        self._sleep = sleep
        self._clock = clock
        self._own: set[Future[Any]] = set()

    def start(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Return the work under way for *key*; if there is none, begin it."""
        table = self._shared
        with table.lock:
            if table.process != os.getpid():
                # What the parent of a fork began is not under way here.
                table.process = os.getpid()
                table.flights.clear()
            flight = table.flights.get(key)
            if flight is not None:
                return flight
            flight = table.flights[key] = Future()
            self._own = {future for future in self._own if not future.done()} | {flight}
        flow = self._carry(key, flight, begin)
        try:
            self._spawn(flow, lambda: self._land(key, flight, error=ConnectError(_INTERRUPTED)))
        except BaseException:
            flow.close()
            self._land(key, flight, error=ConnectError(_INTERRUPTED))
            raise
        return flight

    async def _carry(self, key: Hashable, flight: Future[T], begin: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            result = await begin()
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._land(key, flight, error=error)
        else:
            self._land(key, flight, result=result)

    def _land(self, key: Hashable, flight: Future[Any], *, result: Any = None, error: BaseException | None = None) -> None:
        table = self._shared
        with table.lock:
            if flight.done():
                return
            if table.flights.get(key) is flight:
                del table.flights[key]
            table.failed.pop(key, None)
            if error is not None:
                if len(table.failed) >= _MOST_REMEMBERED:
                    table.failed.clear()
                table.failed[key] = time.monotonic()
        if error is None:
            flight.set_result(result)
        else:
            flight.set_exception(error)

    def failed_within(self, key: Hashable, seconds: float) -> bool:
        """Return whether work for *key* failed a moment ago, so that trying again at once would help nobody."""
        failed = self._shared.failed.get(key)
        return failed is not None and time.monotonic() - failed < seconds

    async def wait(self, flight: Future[T], timeout: float) -> T | None:
        """Return what *flight* brings, or raise what it failed with; ``None`` when *timeout* seconds have passed. It goes on then."""
        until = self._clock() + timeout
        look = _SHORTEST_LOOK
        while not flight.done():
            left = until - self._clock()
            if left <= 0:
                return None
            await self._sleep(min(look, left))
            look = min(look * 1.5, _LONGEST_LOOK)
        return flight.result()

    async def land_all(self, timeout: float) -> int:
        """Wait until everything that was begun here has ended, at most *timeout* seconds. Returns how much is still under way."""
        until = self._clock() + timeout
        while self.under_way() and self._clock() < until:
            await self._sleep(_LONGEST_LOOK / 5)
        return self.under_way()

    def under_way(self) -> int:
        """Return how much of what was begun here has not ended."""
        return sum(not flight.done() for flight in self._own)
