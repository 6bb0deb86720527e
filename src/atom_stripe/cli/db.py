"""``atom-stripe db``: the tables of the SQL stores, and those of engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.options import DatabaseUrl, Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, emit, note, say

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe.protocols import Engine

EngineName = Annotated[
    Literal["pgqueuer", "procrastinate"] | None,
    typer.Option("--engine", show_default=False, help="Also the tables of this engine, which wakes workers on PostgreSQL."),
]

group = typer.Typer(help="The tables in the database.", no_args_is_help=True, rich_markup_mode=None)


@group.command()
def upgrade(*, engine: EngineName = None, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """
    Make the tables, or bring them up to date. Run it once for each release, before the release runs.

    A table of plaintext tokens from before this package is renamed and kept.
    """
    from atom_stripe.stores import sql

    url = settings.database_url(database_url)
    waking = _engine(engine, url)
    done = sql.upgrade(url)
    steps = [] if waking is None else waking.upgrade()
    if json:
        emit({"revision": sql.current(url), "applied": done, **({} if waking is None else {"engine": steps})})
    else:
        say(f"upgraded to {sql.current(url)}" if done else f"up to date at {sql.current(url)}")
        if waking is not None:
            say(f"{engine}: {counted(len(steps), 'step')} taken" if steps else f"{engine}: up to date")
    _tell_of_plaintext(url)


@group.command()
def status(*, engine: EngineName = None, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """Show whether the tables are up to date. Exits with 1 if they are not."""
    from atom_stripe.stores import sql

    url = settings.database_url(database_url)
    waking = _engine(engine, url)
    revision, pending = sql.current(url), sql.pending(url)
    steps = [] if waking is None else waking.pending()
    plaintext = _tell_of_plaintext(url)
    if json:
        told = {"revision": revision, "pending": pending, "plaintext_tokens": plaintext}
        emit(told if waking is None else {**told, "engine": steps})
    else:
        say(f"at {revision or 'no revision'}, {', '.join(pending)} to come" if pending else f"up to date at {revision}")
        if waking is not None:
            say(f"{engine}: {counted(len(steps), 'step')} to come" if steps else f"{engine}: up to date")
    if pending or steps:
        note(f"Run: atom-stripe db upgrade{f' --engine {engine}' if steps else ''}")
        raise typer.Exit(1)


def _engine(name: Literal["pgqueuer", "procrastinate"] | None, url: str) -> Engine | None:
    if name == "pgqueuer":
        from atom_stripe.engines.pgqueuer import PgQueuerEngine

        return PgQueuerEngine(url)
    if name == "procrastinate":
        from atom_stripe.engines.procrastinate import ProcrastinateEngine

        return ProcrastinateEngine(url)
    return None


def _tell_of_plaintext(url: str) -> bool:
    from atom_stripe.stores.original import ORIGINAL, holds_original

    found = holds_original(url)
    if found:
        note(f"{ORIGINAL} holds tokens in plaintext. Run: atom-stripe connections import")
    return found
