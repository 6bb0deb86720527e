"""``atom-stripe db``: the tables of the SQL stores."""

from __future__ import annotations

from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.options import DatabaseUrl, Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import emit, note, say

with require("typer", extra="cli"):
    import typer

group = typer.Typer(help="The tables in the database.", no_args_is_help=True, rich_markup_mode=None)


@group.command()
def upgrade(*, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """
    Make the tables, or bring them up to date. Run it once for each release, before the release runs.

    A table of plaintext tokens from before this package is renamed and kept.
    """
    from atom_stripe.stores import sql

    url = settings.database_url(database_url)
    done = sql.upgrade(url)
    if json:
        emit({"revision": sql.current(url), "applied": done})
    else:
        say(f"upgraded to {sql.current(url)}" if done else f"up to date at {sql.current(url)}")
    _tell_of_plaintext(url)


@group.command()
def status(*, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """Show whether the tables are up to date. Exits with 1 if they are not."""
    from atom_stripe.stores import sql

    url = settings.database_url(database_url)
    revision, pending = sql.current(url), sql.pending(url)
    plaintext = _tell_of_plaintext(url)
    if json:
        emit({"revision": revision, "pending": pending, "plaintext_tokens": plaintext})
    elif pending:
        say(f"at {revision or 'no revision'}, {', '.join(pending)} to come")
    else:
        say(f"up to date at {revision}")
    if pending:
        note("Run: atom-stripe db upgrade")
        raise typer.Exit(1)


def _tell_of_plaintext(url: str) -> bool:
    from atom_stripe.stores.original import ORIGINAL, holds_original

    found = holds_original(url)
    if found:
        note(f"{ORIGINAL} holds tokens in plaintext. Run: atom-stripe connections import")
    return found
