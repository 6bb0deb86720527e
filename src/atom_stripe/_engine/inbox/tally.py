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

    def count(self, name: str) -> None:
        """Count one *name*."""
        with self._lock:
            self._counts[name] += 1
        self.signals.happened(name)

    def counts(self) -> Mapping[str, int]:
        """Return all counts."""
        with self._lock:
            return dict(self._counts)
