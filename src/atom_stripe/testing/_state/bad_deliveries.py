"""
Faults of webhooks: what Stripe warns of, as often as one likes.

Events arrive twice, late, in any order or not at all, and two of them can tell the same. Source: https://docs.stripe.com/webhooks#best-practices
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Self

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a delivery: how many there are of it, whether it is lost and then tried again, after how many seconds it leaves."""

    copies: int = 1
    lost: bool = False
    retried: bool = False
    delay: int = 0


_UNHARMED = Fate()


class DeliveryFaults:
    """
    The faults of a sandbox's webhooks. They strike first attempts, and no retry.

    Each method adds one and returns the faults, so that they can be written in a chain. They last until ``deliveries_clear()``, or until the end of
    a ``with`` block that the chain opens. Each has a sequence of its own that depends on the sandbox's seed alone.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._randoms: dict[str, Random] = {}
        self._afterwards: Callable[[], object] | None = None
        self._late: tuple[int, int] | None = None
        self._second: int | None = None
        self._reset()

    def duplicate(self, probability: float = 1.0) -> Self:
        """Deliver an event twice, each time signed anew."""
        self._duplicated = _probable(probability)
        self._any = True
        return self

    def reorder(self, window: int = 10) -> Self:
        """
        Hold back what is for an endpoint until there are *window* deliveries, 2 to 1000, and send them in another order.

        Those that are still held back leave at the next ``wait()``, ``drain()``, ``clock.advance()`` or end of the faults.
        """
        if isinstance(window, bool) or not isinstance(window, int) or not 2 <= window <= _LONGEST_WINDOW:
            msg = f"the window of a reordering is 2 to {_LONGEST_WINDOW} deliveries"
            raise ConfigurationError(msg)
        self.window = window
        self._any = True
        return self

    def drop(self, probability: float = 1.0, *, retried: bool = False) -> Self:
        """
        Let the first attempt vanish. The event is missed: nothing but ``/v1/events`` knows of it.

        *retried*: it counts as a failure, so that Stripe tries again later.
        """
        self._dropped = _probable(probability)
        self._retried = retried
        self._any = True
        return self

    def delay(self, seconds: float | tuple[float, float]) -> Self:
        """Deliver this many seconds later by the sandbox's clock, or somewhere between two such numbers: within ``clock.advance()``."""
        least, most = seconds if isinstance(seconds, tuple) else (seconds, seconds)
        if not 0 <= least <= most < float("inf"):
            msg = "a delay is a number of seconds, or the least and the most of it"
            raise ConfigurationError(msg)
        self._late = (int(least), int(most))
        self._any = True
        return self

    def same_second(self) -> Self:
        """Let all events have the ``created`` of the first one from now on, so that it says nothing about their order."""
        self._same_second = True
        return self

    def twin(self, probability: float = 1.0) -> Self:
        """Make two events, with an id each, of one change. Both are kept under ``/v1/events``."""
        self._twinned = _probable(probability)
        return self

    def deliveries_clear(self) -> None:
        """End the faults of webhooks. What a reordering held back is delivered; what was delayed stays so."""
        self._reset()
        if self._afterwards:
            self._afterwards()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.deliveries_clear()

    # What the sandbox asks, with the machine's lock held.

    def after_clear(self, run: Callable[[], object]) -> None:
        """Let *run* happen when the faults end."""
        self._afterwards = run

    def fate(self) -> Fate:
        """Return what becomes of the next delivery."""
        if not self._any:
            return _UNHARMED
        copies = 2 if self._happens("duplicate", self._duplicated) else 1
        lost = self._happens("drop", self._dropped)
        delay = self.random("delay").randint(*self._late) if self._late else 0
        return Fate(copies, lost, self._retried, delay)

    def twins(self) -> bool:
        """Return whether the next change makes two events."""
        return self._happens("twin", self._twinned)

    def created(self, now: int) -> int:
        """Return the second at which an event of *now* was made, as it will say."""
        if not self._same_second:
            return now
        if self._second is None:
            self._second = now
        return self._second

    def shuffle(self, parcels: list[Any]) -> None:
        """Put *parcels* in another order."""
        self.random("reorder").shuffle(parcels)

    def random(self, fault: str) -> Random:
        """Return the sequence of one fault."""
        if fault not in self._randoms:
            self._randoms[fault] = Random(f"{self._seed}:{fault}")
        return self._randoms[fault]

    def _happens(self, fault: str, probability: float) -> bool:
        return probability > 0 and self.random(fault).random() < probability

    def _reset(self) -> None:
        self._any = False
        self._duplicated = self._dropped = self._twinned = 0.0
        self._retried = self._same_second = False
        self._late = self._second = None
        self.window = 1


def _probable(probability: float) -> float:
    if not 0 <= probability <= 1:
        msg = "a probability is 0 to 1"
        raise ConfigurationError(msg)
    return float(probability)
