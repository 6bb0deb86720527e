"""What a reconciliation reports: what Stripe listed, what was missing here, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

MissedReason = Literal["undelivered", "delivered_elsewhere", "before_inbox"]
"""
Why an event may be missing, as far as Stripe says. ``"undelivered"``: a delivery of it failed or is pending (``pending_webhooks`` above 0);
``"before_inbox"``: it is older than the first event that this inbox has of the account; ``"delivered_elsewhere"``: every endpoint that wants such
events has got it, so it went to other endpoints than this inbox, or none wants them.
"""

_SENTENCES: Mapping[MissedReason, str] = {
    "undelivered": "a delivery failed or is pending",
    "delivered_elsewhere": "no endpoint of this inbox was subscribed to it, or another one got it",
    "before_inbox": "it is older than the first event of this inbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedEvent:
    """
    An event that Stripe had and the inbox had not. *created*: seconds since 1970. *account*: ``""`` for your own. *stored*: whether it is in the
    inbox now.
    """

    event_id: str
    type: str
    account: str
    livemode: bool
    created: int | None
    pending_webhooks: int
    reason: MissedReason
    stored: bool

    def __str__(self) -> str:
        what = f"{self.type} {self.event_id} of {_moment(self.created)}{f' in {self.account}' if self.account else ''}"
        return f"{what}: {_SENTENCES[self.reason]}{'' if self.stored else '; not stored'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountGaps:
    """
    One account in one mode.

    *account*: ``""`` for your own. *since*, *until*: the window that was compared, in seconds since 1970, both seconds included; *until* is where it
    got to. *hole*: the part before it that Stripe no longer lists, because events are kept for 30 days; what was missed there is lost to
    every reconciliation. *listed*: events that Stripe named; *missing*: those that were not here; *stored*: those of them that are now. *failed*:
    the database did not take them, and they are tried again. *unreadable*: what Stripe listed and is no event. *error*: why it ended early.
    """

    account: str
    livemode: bool
    since: int
    until: int
    hole: tuple[int, int] | None = None
    listed: int = 0
    missing: int = 0
    stored: int = 0
    failed: int = 0
    unreadable: int = 0
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that Stripe lists in the window is in the inbox."""
        return self.error is None and not self.failed and not self.unreadable and self.missing == self.stored

    def __str__(self) -> str:
        mode = "live" if self.livemode else "test"
        window = f"{_moment(self.since)} to {_moment(self.until)}"
        text = f"{self.account or 'own account'} ({mode}), {window}: {self.listed} listed, {self.missing} missing, {self.stored} stored"
        text += f", {self.failed} not taken by the database" if self.failed else ""
        text += f", {self.unreadable} unreadable" if self.unreadable else ""
        text += f"; ended early: {self.error}" if self.error else ""
        if self.hole:
            text += f"; a hole from {_moment(self.hole[0])} to {_moment(self.hole[1])} cannot be closed: Stripe keeps events for 30 days"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """
    What one reconciliation found and did. ``str()`` of it is the gap report as a text.

    *accounts*: one entry each. *missed*: the missing events in the order of time, account by account, the first 1,000 of them; *by_type* counts
    all of them by type and reason. *dry_run*: nothing was stored.
    """

    accounts: tuple[AccountGaps, ...]
    missed: tuple[MissedEvent, ...]
    by_type: Mapping[tuple[str, MissedReason], int]
    dry_run: bool = False

    @property
    def listed(self) -> int:
        """How many events Stripe named."""
        return sum(account.listed for account in self.accounts)

    @property
    def missing(self) -> int:
        """How many of them were not in the inbox."""
        return sum(account.missing for account in self.accounts)

    @property
    def stored(self) -> int:
        """How many of those are in the inbox now."""
        return sum(account.stored for account in self.accounts)

    @property
    def holes(self) -> tuple[AccountGaps, ...]:
        """The accounts with a hole that cannot be closed."""
        return tuple(account for account in self.accounts if account.hole)

    @property
    def complete(self) -> bool:
        """Whether everything that Stripe lists in the windows is in the inbox."""
        return all(account.complete for account in self.accounts)

    def __str__(self) -> str:
        lines = [str(account) for account in self.accounts]
        lines += [f"  {missed}" for missed in self.missed]
        if self.missing > len(self.missed):
            lines.append(f"  and {self.missing - len(self.missed)} more:")
            lines += [f"    {count} x {kind}: {_SENTENCES[reason]}" for (kind, reason), count in sorted(self.by_type.items())]
        return "\n".join(lines)


@dataclass(slots=True)
class Findings:
    """What a reconciliation has found so far: bounded, however much is missing."""

    missed: list[MissedEvent] = field(default_factory=list[MissedEvent])
    by_type: Counter[tuple[str, MissedReason]] = field(default_factory=Counter[tuple[str, MissedReason]])

    def add(self, missed: MissedEvent) -> None:
        """Note a missing event."""
        if len(self.missed) < _MOST_MISSED:
            self.missed.append(missed)
        # The types come from outside.
        known = (missed.type, missed.reason) in self.by_type or len(self.by_type) < _MOST_MISSED
        self.by_type[missed.type if known else "other types", missed.reason] += 1


_MOST_MISSED = 1000


def _moment(seconds: int | None) -> str:
    if seconds is None:
        return "an unknown time"
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
