"""The store's clock, by which claims end and events are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class StoreTime:
    """The time of the store, as far as it is known from its answers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offset = 0.0

    def learn(self, now: float) -> None:
        """Note that it is *now*."""
        self._offset = now - self._clock()

    def now(self) -> float:
        """Return the time."""
        return self._clock() + self._offset
