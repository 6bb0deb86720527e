"""``atom-stripe connections import``: plaintext tokens from before this package, into the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.options import DatabaseUrl, Json, Profile  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, emit, note, progress, say, table
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe.stores.original import LeftRow, Reason

_TABLE = "stripe_oauth_tokens_original"
_SOURCE = "ORIGINAL_DATABASE_URL"


def import_(
    *,
    database_url: DatabaseUrl = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", show_default=_SOURCE, help="Where the plaintext tokens are, if in another database."),
    ] = None,
    table_name: Annotated[str, typer.Option("--table", help="The table of plaintext tokens.")] = _TABLE,
    livemode: Annotated[
        bool | None, typer.Option("--livemode/--testmode", show_default=False, help="The mode of tokens that do not tell.")
    ] = None,
    profile: Profile = "connect",
    fernet_key_env: Annotated[
        str | None, typer.Option("--fernet-key-env", metavar="NAME", help="The variable with the Fernet key of encrypted tokens.")
    ] = None,
    delete_plaintext: Annotated[
        bool, typer.Option("--delete-plaintext", help="Delete each row once its token was read back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and delete nothing.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, max=10_000, help="Rows to read at a time.")] = 100,
    json: Json = False,
) -> None:
    """
    Import plaintext tokens, encrypted with the first of STRIPE_TOKEN_KEYS. Exits with 1 if rows were left.

    It can be stopped and begun again: nothing is imported twice, and no connection that is there is changed.
    """
    from atom_stripe.stores.original import REASONS, import_original

    keys = settings.keyring()
    fernet_keys = _fernet_keys(fernet_key_env)
    with settings.opened_store(database_url) as store, progress("importing") as show:
        report = import_original(
            _source(source, database_url),
            store,
            keys,
            table=table_name,
            profile=profile,
            livemode=livemode,
            fernet_keys=fernet_keys,
            delete_plaintext=delete_plaintext,
            dry_run=dry_run,
            batch=batch,
            progress=show,
        )
    if json:
        left = [{"id": row.id, "user_id": row.user_id, "reason": row.reason} for row in report.left]
        done = {name: getattr(report, name) for name in ("rows", "imported", "already", "deleted")}
        emit({**done, "left": left, "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        say(
            f"{counted(report.rows, 'row')}: {report.imported} {would}imported, {report.already} imported before, {len(report.left)} left, "
            f"{report.deleted} deleted"
        )
        _tell_left(report.left, REASONS)
    if not report.rows:
        note(f"There are no rows in {table_name}.")
    if report.deleted:
        note("The plaintext rows are deleted. Backups and replicas of the database still hold them.")
    if report.left:
        raise typer.Exit(1)


def _tell_left(left: Sequence[LeftRow], reasons: Mapping[Reason, str]) -> None:
    if left:
        table(("ROW", "USER", "REASON", "MEANING"), ((row.id, row.user_id, row.reason, reasons[row.reason]) for row in left))


def _source(given: str | None, target: str | None) -> str:
    if given or os.environ.get(_SOURCE, "").strip():
        return settings.database_url(given, option="--from", variable=_SOURCE)
    return settings.database_url(target)


def _fernet_keys(variable: str | None) -> list[str]:
    if variable is None:
        return []
    keys = [key.strip() for key in os.environ.get(variable, "").split(",") if key.strip()]
    if not keys:
        msg = f"there is no Fernet key: set {variable}"
        raise ConfigurationError(msg)
    return keys
