"""``atom-stripe inbox``: the events that Stripe sent, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._extras import require
from atom_stripe.cli import inbox_bulk, reconciling
from atom_stripe.cli.inbox_options import (
    Account,
    Actor,
    Lane,
    New,
    ObjectId,
    Reason,
    Since,
    Status,
    Types,
    Until,
    demand_seen,
    event_filter,
    opened,
    row,
)
from atom_stripe.cli.options import DatabaseUrl, Json, Livemode  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, document, emit, moment, note, pairs, say, table
from atom_stripe.protocols import InboxQuery

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe._engine.inbox.operated import Inspection
    from atom_stripe.protocols import InboxRecord

group = typer.Typer(help="The events that Stripe sent, and what became of them.", no_args_is_help=True, rich_markup_mode=None)
for _name, _command in inbox_bulk.COMMANDS.items():
    group.command(_name)(_command)
group.command("reconcile")(reconciling.reconcile)

_HEAD = ("ID", "EVENT", "TYPE", "ACCOUNT", "MODE", "STATUS", "RECEIVED", "HANDLERS")
_HANDLERS = ("HANDLER", "STATUS", "ATTEMPTS", "DUE", "FINISHED", "ERROR")
_DELIVERIES = ("DELIVERED", "ENDPOINT", "OUTCOME")
_AUDIT = ("ID", "TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL")

Handler = Annotated[str, typer.Argument(metavar="HANDLER", help="The handler's name.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many to show, at most.")]
After = Annotated[int, typer.Option("--after", min=0, metavar="ID", help="Only those with higher ids.")]


@group.command("list")
def list_(
    *,
    status: Status = None,
    types: Types = None,
    account: Account = None,
    livemode: Livemode = None,
    object_id: ObjectId = None,
    lane: Lane = None,
    handler: Annotated[str | None, typer.Option("--handler", help="Only events that this handler has begun with.")] = None,
    since: Since = None,
    until: Until = None,
    after: After = 0,
    limit: Limit = 100,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """List events in the order in which they arrived, without what is in them."""
    which = event_filter(
        status=status,
        types=types,
        account=account,
        livemode=livemode,
        object_id=object_id,
        lane=lane,
        handler=handler,
        since=since,
        until=until,
    )
    with opened(database_url) as operations:
        found = operations.find(InboxQuery(**which, after=after, limit=limit + 1))
    shown = found[:limit]
    if json:
        emit([_document(record) for record in shown])
    else:
        table(_HEAD, (_line(record) for record in shown))
    if len(found) > limit:
        note(f"There are more: --after {shown[-1].id}")


@group.command()
def show(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="Stripe's id of the event, such as evt_1, or the number of its row.")
    ],
    *,
    payload: Annotated[bool, typer.Option("--payload", help="Show what Stripe sent, which holds data of customers.")] = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Show an event, its handlers and its deliveries. Exits with 1 if there is none."""
    with opened(database_url) as operations:
        found = operations.inspect(row(event), payload=payload)
    if json:
        emit([_detail(one, payload=payload) for one in found])
    else:
        for number, one in enumerate(found):
            if number:
                say("")
            _print_one(one, payload=payload)
    if not found:
        note("There is no such event.")
        raise typer.Exit(1)


@group.command()
def pause(
    handler: Handler,
    *,
    new: New = False,
    actor: Actor = None,
    reason: Reason = "",
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Have a handler run no more. Its events wait, and hold up no other handler."""
    with opened(database_url) as operations:
        demand_seen(operations, handler, new=new)
        operations.pause(handler, actor=actor, reason=reason)
    if json:
        emit({"handler": handler, "paused": True})
    else:
        say(f"{handler} is paused")


@group.command()
def resume(
    handler: Handler,
    *,
    actor: Actor = None,
    reason: Reason = "",
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Let a paused handler go on, with what has waited for it first. Exits with 1 if it was not paused."""
    with opened(database_url) as operations:
        was_paused = handler in operations.paused()
        waited = operations.resume(handler, actor=actor, reason=reason)
    if json:
        emit({"handler": handler, "paused": False, "was_paused": was_paused, "waited": waited})
    else:
        say(f"{handler} goes on; {counted(waited, 'event')} waited aside for it")
    if not was_paused:
        note(f"{handler} was not paused.")
        raise typer.Exit(1)


@group.command()
def status(
    *,
    max_age: Annotated[
        float | None,
        typer.Option("--max-age", min=0, metavar="SECONDS", help="Exit with 1 if an event has been pending for longer."),
    ] = None,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Show how full the inbox is. Exits with 1 if events are parked."""
    with opened(database_url) as operations:
        found = operations.status()
    counts, age = found.counts, found.oldest_pending_age
    values = {
        "pending": counts.pending,
        "running": counts.running,
        "delayed": counts.delayed,
        "parked": counts.parked,
        "oldest_pending_age": None if age is None else round(age, 3),
        "paused": list(found.paused),
    }
    if json:
        emit(values)
    else:
        age_text = None if age is None else f"{age:.0f} s"
        pairs({**values, "oldest_pending_age": age_text, "paused": ", ".join(found.paused) or None}.items())
    late = max_age is not None and age is not None and age > max_age
    if counts.parked:
        note("See what is parked with: atom-stripe inbox list --status parked")
    if late:
        note(f"The oldest pending event has waited for {age:.0f} s. Is a worker running?")
    if counts.parked or late:
        raise typer.Exit(1)


@group.command()
def audit(*, after: After = 0, limit: Limit = 100, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """Show who did what to the inbox, from the first entry on."""
    with opened(database_url) as operations:
        found = operations.audit(after, limit + 1)
    shown = found[:limit]
    if json:
        emit([{"id": number, **document(entry)} for number, entry in shown])
    else:
        table(_AUDIT, ((id_, moment(one.at), one.actor, one.action, one.subject, one.detail or None) for id_, one in shown))
    if len(found) > limit:
        note(f"There are more: --after {shown[-1][0]}")


def _line(record: InboxRecord) -> tuple[object, ...]:
    # Those that there is something to say about.
    handlers = ", ".join(f"{name} {state.status}" for name, state in record.handlers.items() if state.status != "done")
    mode = "live" if record.livemode else "test"
    return (
        record.id,
        record.event_id,
        record.type,
        record.account or None,
        mode,
        record.status,
        moment(record.received_at),
        handlers or None,
    )


def _document(record: InboxRecord) -> dict[str, Any]:
    values = document(record)
    # Who runs it is a name of the worker's own.
    for name in ("payload", "run"):
        del values[name]
    return values


def _detail(one: Inspection, *, payload: bool) -> dict[str, Any]:
    values = _document(one.record)
    values["deliveries"] = [document(delivery) for delivery in one.deliveries]
    if payload:
        # Whatever was signed was kept, and not all bytes are text.
        values["payload"] = None if one.record.payload is None else one.record.payload.decode("utf-8", "backslashreplace")
    return values


def _print_one(one: Inspection, *, payload: bool) -> None:
    record = one.record
    values = {name: value for name, value in _document(record).items() if name not in {"handlers", "account", "livemode"}}
    times = {"received_at", "created", "due_at", "run_until", "finished_at"}
    said = {name: moment(value) if name in times else value for name, value in values.items()}
    pairs({**said, "account": record.account or None, "mode": "live" if record.livemode else "test"}.items())
    if record.handlers:
        say("")
        states = record.handlers.items()
        table(
            _HANDLERS,
            ((name, it.status, it.attempts, moment(it.due_at), moment(it.finished_at), it.error) for name, it in states),
        )
    if one.deliveries:
        say("")
        table(_DELIVERIES, ((moment(each.at), each.endpoint, each.outcome) for each in one.deliveries))
    if payload:
        say("")
        say(_printable(record.payload))


def _printable(payload: bytes | None) -> str:
    if payload is None:
        return "The payload was purged."
    text = payload.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
