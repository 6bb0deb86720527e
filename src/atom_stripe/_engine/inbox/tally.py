"""What happened, counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from atom_stripe._engine.process import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._engine.inbox.signals import Signals


class Tally:
    """Counts by name since the inbox was made, in this process. *signals*: told of each."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self._lock = ForkSafeLock()
        self._counts: Counter[str] = Counter()

    def count(self, name: str, times: int = 1) -> None:
        """Count one *name*, or several."""
        with self._lock:
            self._counts[name] += times
        self.signals.happened(name, times)

    def counts(self) -> Mapping[str, int]:
        """Return all counts."""
        with self._lock:
            return dict(self._counts)
