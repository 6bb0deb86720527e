"""The claims that this process holds, and what keeps them alive."""

from __future__ import annotations

import logging
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.inbox_config import InboxConfig
    from atom_stripe.protocols import InboxRecord, InboxStore

_LOGGER = logging.getLogger("atom_stripe.inbox")


class Flight:
    """One thread's work on one lane. *run*: the name of its claims, which nobody else has."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.abandoned = False
        self._lock = threading.Lock()
        self._renewed = time.monotonic()
        self._until: float | None = None
        self._let_go: Callable[[], None] | None = None

    def renew(self) -> None:
        """Note that the claim was renewed just now."""
        self._renewed = time.monotonic()

    def age(self) -> float:
        """Return the seconds since the claim was renewed."""
        return time.monotonic() - self._renewed

    def begin(self, bound: float | None, let_go: Callable[[], None]) -> None:
        """Note that a handler runs, which has *bound* seconds until *let_go* is called."""
        with self._lock:
            self._until = None if bound is None else time.monotonic() + bound
            self._let_go = let_go

    def end(self) -> bool:
        """Note that the handler has ended, and return whether it was in time."""
        with self._lock:
            self._until = self._let_go = None
            return not self.abandoned

    def abandon(self, *, late_only: bool) -> Callable[[], None] | None:
        """Give up on the handler that runs, with *late_only* if its time is up; return what is to be done then. It happens once."""
        with self._lock:
            late = self._until is not None and time.monotonic() >= self._until
            if self.abandoned or (late_only and not late):
                return None
            self.abandoned = True
            return self._let_go or _nothing


class Claimed(NamedTuple):
    """A claimed event, before its handlers. *flight*: that of the claim."""

    record: InboxRecord
    flight: Flight


class Flights:
    """All claims of this process, and the thread that renews them: no handler, however busy, can keep it from doing so."""

    def __init__(self, store: InboxStore, config: InboxConfig) -> None:
        self._store = store
        self._config = config
        self._lock = threading.Lock()
        self._flights: set[Flight] = set()
        # Counted, because a new name for each claim would take longer than the claim.
        self._name = uuid4().hex
        self._number = count()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> Flight:
        """Return a new one."""
        flight = Flight(f"{self._name}.{next(self._number)}")
        with self._lock:
            self._flights.add(flight)
        return flight

    def end(self, flight: Flight) -> None:
        """Forget *flight*."""
        with self._lock:
            self._flights.discard(flight)

    def under_way(self) -> list[Flight]:
        """Return those that have not ended."""
        with self._lock:
            return list(self._flights)

    def start(self) -> None:
        """Begin to renew."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name="atom-stripe-inbox-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renew no more. Claims that are still held run out."""
        self._stop.set()
        if self._thread is not None:
            # A database that hangs must not keep the process from ending.
            self._thread.join(timeout=5.0)

    def _beat(self) -> None:
        interval = self._config.lease / 3
        # Often enough to notice a handler that is late, too.
        tick = min(interval / 2, 1.0, max(self._config.overrun / 4, 0.02))
        while not self._stop.wait(tick):
            try:
                self.renew(interval)
            except StoreError as error:
                _LOGGER.warning("claims could not be renewed: %s", error)
            except Exception:
                _LOGGER.exception("claims could not be renewed")

    def renew(self, interval: float) -> None:
        """Renew the claims that were not renewed for *interval* seconds, and let go of those whose handlers do not end."""
        flights = self.under_way()
        for flight in flights:
            let_go = flight.abandon(late_only=True)
            if let_go is not None:
                # It writes, and what it writes to may be what the handler holds.
                threading.Thread(target=let_go, name="atom-stripe-inbox-let-go", daemon=True).start()
        due = [flight for flight in flights if not flight.abandoned and flight.age() >= interval]
        if due:
            self._store.extend([flight.run for flight in due], self._config.lease)
            for flight in due:
                flight.renew()


def _nothing() -> None:
    """Do nothing: no handler ran."""
