"""From what happens in an inbox to the metrics of ``atom_stripe.metrics``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atom_stripe._engine.inbox.registry import Handler
    from atom_stripe.metrics import Metrics
    from atom_stripe.protocols import InboxCounts

_LOGGER = logging.getLogger("atom_stripe.inbox")
_NO_LABELS: Mapping[str, str] = {}
_OTHER = "other"

# What the inbox counts, and what else that is to those who watch. What is not here is for the inbox's own counts alone.
_COUNTERS: Mapping[str, tuple[tuple[str, Mapping[str, str]], ...]] = {
    **{
        result: (("atom_stripe_webhook_received_total", {"result": result}),)
        for result in ("stored", "duplicate", "requeued", "refused", "busy")
    },
    **{outcome: (("atom_stripe_inbox_attempts_total", {"outcome": outcome}),) for outcome in ("handled", "failed")},
    "parked": (("atom_stripe_inbox_attempts_total", {"outcome": "parked"}), ("atom_stripe_inbox_dead_total", _NO_LABELS)),
    "claims_lost": (("atom_stripe_inbox_lease_lost_total", _NO_LABELS),),
    "recovered": (("atom_stripe_inbox_sweeper_recovered_total", _NO_LABELS),),
    "timeouts": (("atom_stripe_inbox_timeouts_total", _NO_LABELS),),
    "store_failures": (("atom_stripe_inbox_store_failures_total", _NO_LABELS),),
}


class Signals:
    """
    Tells *metrics*, if there are any, with labels that have few values. *handlers*: returns those that are registered.

    Nothing that *metrics* raises goes further: an event is worth more than its number.
    """

    def __init__(self, metrics: Metrics | None, handlers: Callable[[], Mapping[str, Handler]]) -> None:
        self._metrics = metrics
        self._handlers = handlers
        self._has_failed = False

    def happened(self, name: str, times: int = 1) -> None:
        """Tell that *name*, which the inbox counts, happened again, *times* times."""
        if self._metrics is None:
            return
        for counter, labels in _COUNTERS.get(name, ()):
            self._tell("count", counter, times, labels)

    def acknowledged(self, seconds: float) -> None:
        """Tell how long a delivery took to be safe."""
        self._tell("observe", "atom_stripe_webhook_ack_seconds", seconds, _NO_LABELS)

    def stored_together(self, deliveries: int) -> None:
        """Tell how many deliveries one transaction is to store."""
        self._tell("observe", "atom_stripe_inbox_group_commit_batch_size", deliveries, _NO_LABELS)

    def paid(self, outcome: str) -> None:
        """Tell that a payment succeeded or failed."""
        self._tell("count", "atom_stripe_payments_total", 1, {"outcome": outcome})

    def attempted(self, type: str, outcome: str, seconds: float, lag: float) -> None:
        """Tell how long an attempt with an event of *type* took; *lag*: for how long the event had been here when it ended."""
        if self._metrics is None:
            return
        label = self.type_label(type)
        self._tell("observe", "atom_stripe_inbox_process_seconds", seconds, {"event_type": label, "outcome": outcome})
        if outcome == "handled":
            self._tell("observe", "atom_stripe_inbox_lag_seconds", max(0.0, lag), {"event_type": label})

    def measured(self, counts: InboxCounts) -> None:
        """Tell how full the inbox is."""
        for status in ("pending", "running", "delayed", "parked"):
            self._tell("gauge", "atom_stripe_inbox_events", getattr(counts, status), {"status": status})
        oldest = counts.oldest_pending_at
        age = 0.0 if oldest is None else max(0.0, counts.now - oldest)
        self._tell("gauge", "atom_stripe_inbox_oldest_pending_age_seconds", age, _NO_LABELS)

    def type_label(self, type: str) -> str:
        """Return *type* if a handler was registered for it; what else it was registered for, such as ``customer.*``; or ``"other"``."""
        patterns = {pattern for handler in self._handlers().values() for pattern in handler.patterns if pattern != "*"}
        if type in patterns:
            return type
        fitting = (pattern for pattern in patterns if pattern.endswith(".*") and type.startswith(pattern[:-1]))
        # The closest one.
        return max(fitting, key=len, default=_OTHER)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return self._metrics is not None

    def _tell(self, method: str, name: str, value: float, labels: Mapping[str, str]) -> None:
        if self._metrics is None:
            return
        try:
            getattr(self._metrics, method)(name, value, labels)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                _LOGGER.exception("the inbox's metrics failed; this is said once")
