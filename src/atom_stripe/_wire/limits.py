"""
How long a request must wait so that a rate is kept (the generic cell rate algorithm), and how the rate follows what Stripe says.

Each bucket remembers one moment: when it will be empty again. Taking a place moves that moment on; nobody has to wake anybody up.
"""

from __future__ import annotations

from dataclasses import dataclass

# A 429 takes the rate to this part of what it was, but not below the floor, and at most once in a window:
# the requests that were already on their way when Stripe said stop are one event, not ten.
_SLOWER = 0.5
_FLOOR = 0.05
_WINDOW = 1.0
# How much of the full rate comes back in a second.
_RECOVERY = 0.05


@dataclass(slots=True)
class Bucket:
    """
    One limited thing: an account, an endpoint.

    *rate*: requests a second; a second's worth may go at once. Times are seconds on any clock that only goes forward.
    """

    rate: float
    full_at: float = 0.0
    factor: float = 1.0
    changed_at: float = 0.0

    def wait(self, now: float) -> float:
        """Return how long a request that comes *now* has to wait."""
        return max(0.0, max(now, self.full_at) + self._interval(now) - self._burst(now) - now)

    def take(self, now: float) -> None:
        """Take the next place."""
        self.full_at = max(now, self.full_at) + self._interval(now)

    def slow_down(self, now: float) -> None:
        """Stripe refused a request: go slower from now on."""
        if now - self.changed_at < _WINDOW and self.factor < 1.0:
            return
        self.factor = max(_FLOOR, self._factor(now) * _SLOWER)
        self.changed_at = now
        # What was saved up is spent: the next requests are spaced from here.
        self.full_at = max(self.full_at, now + self._burst(now))

    def at_rest(self, now: float) -> bool:
        """Return whether this bucket is as good as new."""
        return self.full_at <= now and self._factor(now) == 1.0

    def _factor(self, now: float) -> float:
        return min(1.0, self.factor + (now - self.changed_at) * _RECOVERY)

    def _interval(self, now: float) -> float:
        return 1.0 / (self.rate * self._factor(now))

    def _burst(self, now: float) -> float:
        # One second's worth, and never less than one request.
        return max(1.0, self._interval(now))
