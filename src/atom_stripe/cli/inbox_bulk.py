"""``atom-stripe inbox replay``, ``requeue``, ``discard`` and ``purge``: what is done to many events at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._extras import require
from atom_stripe.cli.inbox_options import (
    Account,
    Actor,
    All,
    Batch,
    Delayed,
    DryRun,
    Events,
    Lane,
    New,
    ObjectId,
    Rate,
    Reason,
    Since,
    Status,
    Types,
    Until,
    ask,
    demand_seen,
    event_filter,
    numbers,
    opened,
)
from atom_stripe.cli.options import DatabaseUrl, Json, Livemode, Yes  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, emit, note, progress, say
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atom_stripe._engine.inbox.operated import Changes, EventFilter

    Change = Callable[[Callable[[int, int], None]], Changes]

_LEFT = {
    "running": "{} being handled right now; run this again for {them}",
    "waiting": "{} yet to be handled anyway",
    "purged": "{} without a payload: it was purged",
    "unconcerned": "{} without a handler that this is about",
    "missing": "{} no longer there",
}


def replay(
    events: Events = None,
    *,
    handler: Annotated[
        list[str] | None,
        typer.Option("--handler", help="Run this handler again, and no other that has run. May be given again."),
    ] = None,
    new: New = False,
    status: Status = None,
    types: Types = None,
    account: Account = None,
    livemode: Livemode = None,
    object_id: ObjectId = None,
    lane: Lane = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    rate: Rate = 200.0,
    batch: Batch = 200,
    dry_run: DryRun = False,
    actor: Actor = None,
    reason: Reason = "",
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """
    Have events handled again, from the bytes that were stored. Exits with 1 if some were left as they are.

    Without --handler, every handler that wants the event now runs again. What is pending already is not touched.
    """
    which = event_filter(
        status=status, types=types, account=account, livemode=livemode, object_id=object_id, lane=lane, since=since, until=until
    )
    _demand_choice(events, which, every=all_)
    with opened(database_url) as operations:
        for name in handler or ():
            demand_seen(operations, name, new=new)
        ids = numbers(operations, events) if events else operations.select(**which)
        _carry_out(
            "replayed",
            ids,
            lambda show: operations.replay(
                ids, handlers=handler or None, rate=rate, batch=batch, actor=actor, reason=reason, progress=show
            ),
            question=f"Run the handlers of {counted(len(ids), 'event')} again?",
            dry_run=dry_run,
            yes=yes,
            json=json,
        )


def requeue(
    events: Events = None,
    *,
    handler: Annotated[str | None, typer.Option("--handler", help="Only this handler.")] = None,
    delayed: Delayed = False,
    types: Types = None,
    account: Account = None,
    livemode: Livemode = None,
    object_id: ObjectId = None,
    lane: Lane = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    rate: Rate = 200.0,
    batch: Batch = 200,
    dry_run: DryRun = False,
    actor: Actor = None,
    reason: Reason = "",
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Have parked handlers tried again, with all their attempts. Exits with 1 if some were left as they are."""
    which = event_filter(
        types=types, account=account, livemode=livemode, object_id=object_id, lane=lane, handler=handler, since=since, until=until
    )
    _demand_choice(events, which, every=all_)
    with opened(database_url) as operations:
        ids = numbers(operations, events) if events else operations.parked(delayed=delayed, **which)
        _carry_out(
            "requeued",
            ids,
            lambda show: operations.requeue(
                ids, handler=handler, delayed=delayed, rate=rate, batch=batch, actor=actor, reason=reason, progress=show
            ),
            question=f"Try the parked handlers of {counted(len(ids), 'event')} again?",
            dry_run=dry_run,
            yes=yes,
            json=json,
        )


def discard(
    events: Events = None,
    *,
    handler: Annotated[str | None, typer.Option("--handler", help="Only this handler.")] = None,
    delayed: Delayed = False,
    types: Types = None,
    account: Account = None,
    livemode: Livemode = None,
    object_id: ObjectId = None,
    lane: Lane = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    batch: Batch = 200,
    dry_run: DryRun = False,
    actor: Actor = None,
    reason: Reason = "",
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Decide that parked handlers are to run no more. Exits with 1 if some were left as they are. A replay undoes it."""
    which = event_filter(
        types=types, account=account, livemode=livemode, object_id=object_id, lane=lane, handler=handler, since=since, until=until
    )
    _demand_choice(events, which, every=all_)
    with opened(database_url) as operations:
        ids = numbers(operations, events) if events else operations.parked(delayed=delayed, **which)
        _carry_out(
            "discarded",
            ids,
            lambda show: operations.discard(
                ids, handler=handler, delayed=delayed, batch=batch, actor=actor, reason=reason, progress=show
            ),
            question=f"Never handle what is parked of {counted(len(ids), 'event')}?",
            dry_run=dry_run,
            yes=yes,
            json=json,
        )


def purge(
    *,
    older_than: Annotated[float, typer.Option("--older-than", min=0, metavar="DAYS", help="Days since they were finished.")] = 90,
    batch: Annotated[int, typer.Option("--batch", min=1, max=10_000, help="Events in one transaction.")] = 1000,
    actor: Actor = None,
    reason: Reason = "",
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """
    Delete what Stripe sent of events that were finished long ago. Their ids stay, and keep duplicates out.

    What is not finished is not touched. What was purged cannot be replayed.
    """
    try:
        age = timedelta(days=older_than)
    except OverflowError:
        msg = "--older-than is a number of days"
        raise ConfigurationError(msg) from None
    ask(f"Delete the payloads of events that were finished more than {older_than:g} days ago?", yes=yes)
    with opened(database_url) as operations, progress("purging") as show:
        purged = operations.purge(older_than=age, batch=batch, actor=actor, reason=reason, progress=show)
    if json:
        emit({"purged": purged})
    else:
        say(f"{counted(purged, 'payload')} purged")


COMMANDS: Mapping[str, Callable[..., None]] = {"replay": replay, "requeue": requeue, "discard": discard, "purge": purge}


def _demand_choice(events: list[str] | None, which: EventFilter, *, every: bool) -> None:
    """Refuse to touch everything for want of an option, and to guess what two of them mean together."""
    if events and (which.keys() - {"handler"} or every):
        msg = "name events, or say which with options: not both"
        raise ConfigurationError(msg)
    if not events and not which and not every:
        msg = "say which events: by their ids, by options such as --type and --since, or --all"
        raise ConfigurationError(msg)


def _carry_out(done: str, ids: list[int], change: Change, *, question: str, dry_run: bool, yes: bool, json: bool) -> None:
    """Ask, change, and tell what became of it."""
    if dry_run:
        if json:
            emit({"found": len(ids), "dry_run": True})
        else:
            say(f"{counted(len(ids), 'event')} would be {done}")
        return
    if ids:
        ask(question, yes=yes)
    with progress(done) as show:
        changes = change(show)
    left = {reason: list(numbers) for reason, numbers in changes.left.items()}
    if json:
        emit({done: len(changes.changed), "left": left})
    else:
        say(f"{counted(len(changes.changed), 'event')} {done}")
    _tell_left(left)
    if left:
        raise typer.Exit(1)


def _tell_left(left: Mapping[str, list[Any]]) -> None:
    for reason, ids in left.items():
        told = _LEFT[reason].format(counted(len(ids), "event"), them="it" if len(ids) == 1 else "them")
        # The first few are enough to look at one.
        note(f"left: {told} ({', '.join(map(str, ids[:10]))}{', …' if len(ids) > 10 else ''})")
