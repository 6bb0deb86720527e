"""Options that several commands of ``atom-stripe inbox`` have, and what they mean."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from atom_stripe import protocols
from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe._engine.inbox.operated import EventFilter
    from atom_stripe._engine.inbox.operating import InboxOperations

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _moment(text: str) -> float:
    """Return the moment that *text* names, in seconds since 1970."""
    try:
        if ago := _AGO.fullmatch(text):
            return (datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).timestamp()
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        msg = f"{text!r} is no time: say how long ago, such as 36h or 7d, or the moment in UTC, such as 2026-11-01T08:00"
        raise typer.BadParameter(msg) from None


Events = Annotated[
    list[str] | None, typer.Argument(metavar="[EVENT]...", help="Stripe's ids of events, such as evt_1, or numbers of rows.")
]
Status = Annotated[protocols.EventStatus | None, typer.Option("--status", help="Only events in this state.")]
Types = Annotated[list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type. May be given again.")]
Account = Annotated[str | None, typer.Option("--account", metavar="ACCT", help="Only events of this connected account.")]
ObjectId = Annotated[str | None, typer.Option("--object", metavar="ID", help="Only events about this object of Stripe's.")]
Lane = Annotated[str | None, typer.Option("--lane", help="Only events of this lane.")]
SINCE = typer.Option("--since", metavar="TIME", parser=_moment, help="Only what arrived since: 36h, 7d, 2026-11-01T08:00 in UTC.")
UNTIL = typer.Option("--until", metavar="TIME", parser=_moment, help="Only what arrived before.")
Since = Annotated[float | None, SINCE]
Until = Annotated[float | None, UNTIL]
All = Annotated[bool, typer.Option("--all", help="All of them, when nothing else says which.")]
Actor = Annotated[
    str | None, typer.Option("--actor", show_default="the user of the system", help="Who does this, for the audit log.")
]
Reason = Annotated[str, typer.Option("--reason", show_default=False, help="Why, for the audit log.")]
Batch = Annotated[int, typer.Option("--batch", min=1, max=10_000, help="Events in one transaction.")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, help="How many events a second, at most.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count them, and change nothing.")]
Delayed = Annotated[bool, typer.Option("--delayed", help="Also those that failed and wait for another attempt.")]
New = Annotated[bool, typer.Option("--new", help="Take the name of a handler that has seen no event yet.")]


@contextmanager
def opened(database_url: str | None) -> Generator[InboxOperations]:
    """Yield what operates the inbox in the database that *database_url* or the environment names."""
    from atom_stripe._engine.inbox.operating import InboxOperations
    from atom_stripe.stores.sql import SqlInboxStore

    with SqlInboxStore.from_url(settings.database_url(database_url)) as store:
        yield InboxOperations(store)


def event_filter(
    *,
    status: protocols.EventStatus | None = None,
    types: list[str] | None = None,
    account: str | None = None,
    livemode: bool | None = None,
    object_id: str | None = None,
    lane: str | None = None,
    handler: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> EventFilter:
    """Return the filter that the options make; what was not given is not in it."""
    given: EventFilter = {
        "status": status,
        "types": frozenset(types) if types else None,
        "account": account,
        "livemode": livemode,
        "object_id": object_id,
        "lane": lane,
        "handler": handler,
        "received_after": since,
        "received_before": until,
    }
    return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]


def numbers(operations: InboxOperations, events: list[str]) -> list[int]:
    """
    Return the numbers of the rows that *events* name.

    Raises:
        ConfigurationError: There is no such event.
    """
    found: list[int] = []
    for name in events:
        rows = operations.inspect(row(name))
        if not rows:
            msg = f"there is no event {name}"
            raise ConfigurationError(msg)
        found += [one.record.id for one in rows]
    return found


def row(name: str) -> int | str:
    """Return the number that *name* is, or itself, an id of Stripe's."""
    return int(name) if name.isascii() and name.isdigit() and len(name) < 19 else name


def demand_seen(operations: InboxOperations, handler: str, *, new: bool) -> None:
    """Refuse the name of a handler that no event knows: a misspelled one would have no effect, and nobody would notice."""
    if not new and not operations.has_seen(handler):
        msg = f"no stored event has been handled by {handler!r}: check the name, or say --new if it has yet to handle its first"
        raise ConfigurationError(msg)


def ask(question: str, *, yes: bool) -> None:
    """Ask whoever sits at a terminal. A script has decided."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
