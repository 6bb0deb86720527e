"""The sandbox's time: it stands still until it is told to move."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.testing._state.transaction import Transaction

    Job = Callable[[Transaction], None]

# Fixed, because the same run must give the same bytes; recent, so that cards have not expired and months are not odd.
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


class Clock:
    """
    The time in the sandbox. Created objects carry it, and what is due happens when it is reached.

    It does not run by itself: two objects made in one test have the same ``created``, as often at Stripe, where it has a
    resolution of one second.
    """

    def __init__(self, start: datetime, move: Callable[[int], None]) -> None:
        if start.tzinfo is None:
            msg = "the start of the sandbox's clock needs a time zone: datetime(2026, 11, 2, tzinfo=UTC)"
            raise ConfigurationError(msg)
        self.timestamp = int(start.timestamp())
        self._move = move

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.timestamp, UTC)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """
        Move on by this much and return the new time. What falls due on the way happens at its own time, in order.

        Raises:
            ConfigurationError: The clock would go back.
        """
        return self.advance_to(self.now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))

    def advance_to(self, moment: datetime) -> datetime:
        """
        Move on to *moment*, which has a time zone, and return the new time.

        Raises:
            ConfigurationError: *moment* has passed, or has no time zone.
        """
        if moment.tzinfo is None or int(moment.timestamp()) < self.timestamp:
            msg = f"the sandbox's clock only goes forward, to a moment with a time zone; it is {self.now.isoformat()}"
            raise ConfigurationError(msg)
        self._move(int(moment.timestamp()))
        return self.now

    def __repr__(self) -> str:
        return f"Clock({self.now.isoformat()})"


class Agenda:
    """What will happen by itself, and when: funds that become available, authorizations that run out."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, str, Job]] = []
        self._count = 0

    def add(self, when: int, account: str, job: Job) -> None:
        """Let *job* happen in *account* at *when*. What is due at the same second happens in the order in which it was added."""
        self._count += 1
        heapq.heappush(self._entries, (when, self._count, account, job))

    def due(self, until: int) -> tuple[int, str, Job] | None:
        """Remove and return the next entry that is due by *until*: its time, account and job."""
        if not self._entries or self._entries[0][0] > until:
            return None
        when, _, account, job = heapq.heappop(self._entries)
        return when, account, job

    def first(self) -> int | None:
        """Return when the next entry is due, ``None`` if there is none."""
        return self._entries[0][0] if self._entries else None
