"""What a reconciliation is to compare."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.calls import CallFlow
    from atom_stripe._engine.inbox.gaps import AccountGaps

_MOST_TYPES = 20
_ACCOUNT = re.compile(r"acct_[A-Za-z0-9_]{1,100}")


@dataclass(frozen=True, slots=True)
class Source:
    """Whose events are listed: with which calls, and *account* for what Stripe says nothing about. *by_token*: not with our own key."""

    flow: CallFlow
    account: str
    options: dict[str, str]
    by_token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """
    What to compare. Times are in seconds.

    *types*: only these, 20 at most. *delivery_success*: ``False``: only events that did not reach every endpoint. *since*: go back this far, also if
    there is a cursor. *overlap*: how far before the cursor to begin, for events that Stripe listed late. *dry_run*: store nothing.
    """

    types: tuple[str, ...] = ()
    delivery_success: bool | None = None
    since: float | None = None
    overlap: float = 3600.0
    dry_run: bool = False
    actor: str = "program"
    on_progress: Callable[[AccountGaps], object] | None = None

    @property
    def filters(self) -> dict[str, Any]:
        """What Stripe is asked for, in every call."""
        filters: dict[str, Any] = {"types": list(self.types)} if self.types else {}
        return filters if self.delivery_success is None else {**filters, "delivery_success": self.delivery_success}

    def cursor(self, source: Source, *, livemode: bool) -> str:
        """Return the name of the cursor. One for each filter: what one left out, another has not seen."""
        name = f"reconcile:{'live' if livemode else 'test'}:{source.account}"
        kept = sorted(set(self.types)), self.delivery_success
        return name if not self.filters else f"{name}:{sha256(repr(kept).encode()).hexdigest()[:16]}"


def check_types(types: Iterable[str]) -> tuple[str, ...]:
    """Return the types of a wish, or raise ``ConfigurationError``."""
    wanted = None if isinstance(types, str) or not isinstance(types, Iterable) else tuple(types)
    if wanted is None or len(wanted) > _MOST_TYPES or not all(isinstance(one, str) and one for one in wanted):
        msg = f"types are up to {_MOST_TYPES} types of events, such as ['invoice.paid']"
        raise ConfigurationError(msg)
    return wanted


def check_accounts(accounts: Iterable[str]) -> tuple[str, ...]:
    """Return the accounts of a wish, or raise ``ConfigurationError``."""
    named = None if isinstance(accounts, str) or not isinstance(accounts, Iterable) else tuple(accounts)
    if named is None or not all(isinstance(account, str) and _ACCOUNT.fullmatch(account) for account in named):
        msg = "accounts are ids of connected accounts, such as ['acct_…']"
        raise ConfigurationError(msg)
    return named


def check_since(since: datetime | float | None) -> float | None:
    """Return the moment of a wish, in seconds since 1970, or raise ``ConfigurationError``."""
    if isinstance(since, datetime):
        if since.tzinfo is None:
            msg = "since needs a time zone: datetime(2026, 11, 2, tzinfo=UTC)"
            raise ConfigurationError(msg)
        return since.timestamp()
    if since is not None and not _number(since):
        msg = "since is a datetime with a zone, or seconds since 1970"
        raise ConfigurationError(msg)
    return since


def check_overlap(overlap: float) -> float:
    """Return the overlap of a wish, or raise ``ConfigurationError``."""
    if not (_number(overlap) and overlap >= 0):
        msg = "overlap is a number of seconds that is not negative"
        raise ConfigurationError(msg)
    return overlap


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
