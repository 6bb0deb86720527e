"""Payments that succeeded or failed, counted when the inbox first stores what Stripe says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atom_stripe._engine.inbox.pending import Pending
    from atom_stripe._engine.inbox.signals import Signals
    from atom_stripe.inbox_config import InboxConfig
    from atom_stripe.protocols import Appended, Arrival

# Source: https://docs.stripe.com/api/events/types
_OUTCOMES: Mapping[str, str] = {"payment_intent.succeeded": "succeeded", "payment_intent.payment_failed": "failed"}


class Payments:
    """Tells *signals* of each event about a payment once, snapshot or thin; not of those in the mode that *config* sets aside."""

    def __init__(self, signals: Signals, config: InboxConfig) -> None:
        self._signals = signals
        self._livemode = config.livemode

    def watch(self, arrival: Arrival, pending: Pending) -> None:
        """Count *arrival* once *pending* says that it was stored, whether or not somebody still waits for that."""
        if self._signals.wanted and _outcome(arrival):
            pending.add_done_callback(lambda done: self.stored([(arrival, done.stored)]))

    def stored(self, results: Iterable[tuple[Arrival, Appended | StoreError | None]]) -> None:
        """Count the arrivals that were stored for the first time."""
        for arrival, found in results:
            outcome = _outcome(arrival)
            new = found is not None and not isinstance(found, StoreError) and found.outcome == "stored"
            if outcome and new and self._livemode in {None, arrival.livemode}:
                self._signals.paid(outcome)


def _outcome(arrival: Arrival) -> str | None:
    return _OUTCOMES.get(arrival.type.removeprefix("v1."))
