"""How fast handlers are, and so how many events may well be handled one after the other by one thread."""

from __future__ import annotations

LONGEST = 0.05
"""Seconds that events which were claimed together are handled in one thread; what has not begun by then goes to others."""

# Seconds of handlers that one thread is given at a time, and events. More than that many in a transaction save next to nothing.
_SPAN = 0.01
_MOST = 50
# A handler that is faster than the inbox's own work would only take Python's lock from others in several threads. Now and then any is interrupted.
_QUICK = 0.0005
_FEW = 0.1
# How much the latest handler counts.
_SHARE = 0.05
_SHARE_OF_SLOW = 0.02


class Pace:
    """What handlers took lately, as moving averages. Threads may overwrite each other's numbers: it is a guess anyway."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._slow = 0.0

    def note(self, seconds: float) -> None:
        """Note that a handler took that long."""
        self._seconds += _SHARE * (seconds - self._seconds)
        self._slow += _SHARE_OF_SLOW * ((seconds > _QUICK) - self._slow)

    @property
    def most(self) -> int:
        """How many events one thread may claim together."""
        return max(1, min(_MOST, int(_SPAN / max(self._seconds, 1e-6))))

    @property
    def quick(self) -> bool:
        """Whether one thread does as much as several: all handlers but a few are quick."""
        return self._slow < _FEW
