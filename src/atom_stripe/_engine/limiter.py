"""The client's own rate limit: one line for each account and each endpoint, shared by all threads and event loops of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe._engine.process import ForkSafeLock
from atom_stripe._wire.limits import Bucket
from atom_stripe.errors import QueueFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Connected accounts are buckets too: a platform with a million of them must not keep a million buckets.
_MOST_BUCKETS = 4096


class Limiter:
    """
    Places in line, handed out at once: who comes learns how long to wait and sleeps alone.

    So nothing has to be woken up, and threads and event loops can share one line.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._buckets: dict[str, Bucket] = {}

    def reserve(self, scopes: Sequence[tuple[str, float]], now: float, longest: float) -> float:
        """
        Take a place in all *scopes* (name and rate a second) and return the seconds to wait for it.

        Raises:
            QueueFullError: The wait would be longer than *longest* seconds. No place was taken.
        """
        with self._lock:
            buckets = [self._bucket(name, rate, now) for name, rate in scopes]
            wait = max([bucket.wait(now) for bucket in buckets], default=0.0)
            if wait > longest:
                msg = f"{wait:.1f} s of requests are waiting already, and this one may wait {longest:.1f} s"
                raise QueueFullError(msg, wait=wait)
            for bucket in buckets:
                bucket.take(now)
            return wait

    def slow_down(self, name: str, now: float) -> None:
        """Stripe refused a request of this scope."""
        with self._lock:
            bucket = self._buckets.get(name)
            if bucket is not None:
                bucket.slow_down(now)

    def _bucket(self, name: str, rate: float, now: float) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                # A bucket that is full again and at its full rate remembers nothing.
                self._buckets = {kept: old for kept, old in self._buckets.items() if not old.at_rest(now)}
            bucket = self._buckets[name] = Bucket(rate)
        return bucket
