"""
When what failed is sent again.

Stripe says "up to three days, with exponential back-off" for live mode and "three times over a few hours" for test mode, and publishes no table:
the seconds here are ours. Source: https://docs.stripe.com/webhooks#automatic-retries
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from atom_stripe.testing._delivery.parcels import Parcel

    Schedule = Literal["live", "test", "off"]

_MINUTE = 60
_HOUR = 60 * _MINUTE

SCHEDULES: dict[str, tuple[int, ...]] = {
    # From five minutes to twelve hours, each twice the one before: the last of twelve after 69 hours and a quarter.
    "live": (*(5 * _MINUTE * 2**power for power in range(8)), *(12 * _HOUR,) * 4),
    "test": (_HOUR // 2, _HOUR, 2 * _HOUR),
    "off": (),
}
"""The seconds between an attempt that failed and the next."""


class Timetable:
    """Parcels that leave later. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Parcel, Parcel | None]] = []
        self._count = 0

    def add(self, when: int, parcel: Parcel, failed: Parcel | None = None) -> None:
        """Let *parcel* leave at *when*. *failed*: the attempt that it repeats."""
        self._count += 1
        heapq.heappush(self._entries, (when, self._count, parcel, failed))

    def first(self) -> tuple[int, Parcel, Parcel | None] | None:
        """Return the entry that comes next: its time, its parcel, and the attempt that this repeats."""
        if not self._entries:
            return None
        when, _, parcel, failed = self._entries[0]
        return when, parcel, failed

    def take(self) -> None:
        """Remove the entry that comes next."""
        heapq.heappop(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
