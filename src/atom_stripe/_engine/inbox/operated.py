"""What operators ask of an inbox, and what they are told."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe.protocols import Delivery, EventStatus, InboxCounts, InboxRecord


class EventFilter(TypedDict, total=False):
    """Which events are meant: those that meet everything given here, as in ``InboxQuery``."""

    status: EventStatus | None
    types: frozenset[str] | None
    account: str | None
    livemode: bool | None
    event_id: str | None
    object_id: str | None
    lane: str | None
    handler: str | None
    received_after: float | None
    received_before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """
    What became of the events that were to be changed, by the numbers of their rows.

    *changed*: that was done. The others were left as they are. *running*: a worker is at it. *waiting*: its handlers have yet to run.
    *purged*: its payload is gone. *unconcerned*: no handler of it is meant. *missing*: there is no such event.
    """

    changed: tuple[int, ...] = ()
    running: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    purged: tuple[int, ...] = ()
    unconcerned: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()

    @property
    def left(self) -> Mapping[str, tuple[int, ...]]:
        """Those that were left, by the reason; reasons without any are not here."""
        reasons = [field.name for field in fields(self) if field.name != "changed"]
        return {reason: ids for reason in reasons if (ids := getattr(self, reason))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One event, and its deliveries in the order in which they came."""

    record: InboxRecord
    deliveries: Sequence[Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxStatus:
    """How full an inbox is, and which handlers are paused. *oldest_pending_age*: seconds since the oldest pending event arrived."""

    counts: InboxCounts
    paused: tuple[str, ...]

    @property
    def oldest_pending_age(self) -> float | None:
        """Seconds, or ``None`` if nothing is pending."""
        oldest = self.counts.oldest_pending_at
        return None if oldest is None else max(0.0, self.counts.now - oldest)
