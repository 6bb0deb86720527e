"""``atom-stripe keys``: the keys that tokens are encrypted with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.options import DatabaseUrl, Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, emit, note, progress, say, table
from atom_stripe.keys import Keyring

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe.protocols import TokenStore

group = typer.Typer(help="The keys that tokens are encrypted with.", no_args_is_help=True, rich_markup_mode=None)

_ADVICE = (
    "Put it first in STRIPE_TOKEN_KEYS and keep the old keys behind it, separated by commas. Then run: atom-stripe keys rotate"
)
_EVERYWHERE = "once every process has the new first key"


@group.command()
def generate(
    *,
    id: Annotated[str | None, typer.Option("--id", help="What to call it: up to 64 letters, digits and ._-")] = None,
    json: Json = False,
) -> None:
    """Print a new key for STRIPE_TOKEN_KEYS. It is shown once and kept nowhere."""
    line = Keyring.generate_key(id)
    if json:
        emit({"id": line.partition(":")[0], "key": line})
    else:
        say(line)
    note(_ADVICE)


@group.command("list")
def list_(*, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """Show the keys in STRIPE_TOKEN_KEYS, and how many rows each encrypts. Exits with 1 if rows need a key that is not there."""
    ids = settings.keyring().ids
    with settings.opened_store(database_url) as store:
        counts = settings.rows_by_key(store)
    missing = sorted(counts.keys() - set(ids))
    roles = [(key_id, "encrypts" if place == 0 else "decrypts", counts.get(key_id, 0)) for place, key_id in enumerate(ids)]
    roles += [(key_id, "missing", counts[key_id]) for key_id in missing]
    if json:
        emit({"keys": [{"id": key_id, "role": role, "rows": rows} for key_id, role, rows in roles]})
    else:
        table(("KEY", "ROLE", "ROWS"), roles)
    if missing:
        note(f"No key in STRIPE_TOKEN_KEYS has the id {', '.join(missing)}: put it back, behind the first one.")
        raise typer.Exit(1)


@group.command()
def rotate(
    *,
    database_url: DatabaseUrl = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=10_000, help="Rows to read at a time.")] = 100,
    json: Json = False,
) -> None:
    """
    Encrypt every token with the first of STRIPE_TOKEN_KEYS.

    Services may run meanwhile. A rotation that was stopped is begun again with the same command.
    """
    keys = settings.keyring()
    with settings.opened_store(database_url) as store:
        rotated, unreadable = _rotated(store, keys, batch)
        counts = settings.rows_by_key(store)
    current, *old = keys.ids
    needed = sorted(counts.keys() - {current})
    droppable = [key_id for key_id in old if key_id not in needed]
    if json:
        emit(
            {
                "key": current,
                "rotated": rotated,
                "unreadable": [{"connection": connection, "reason": reason} for connection, reason in unreadable],
                "rows": counts,
                "droppable": droppable,
            }
        )
    else:
        say(f"{counted(rotated, 'row')} encrypted with {current}, {counted(counts.get(current, 0), 'row')} in all")
    for connection, reason in unreadable:
        note(f"connection {connection} cannot be read ({reason}); it was left as it is")
    for key_id in needed:
        note(f"{key_id} still encrypts {counted(counts[key_id], 'row')}")
    if droppable:
        note(f"No row needs {', '.join(droppable)} any more. Remove from STRIPE_TOKEN_KEYS what is in no backup, {_EVERYWHERE}.")
    if unreadable:
        raise typer.Exit(1)


def _rotated(store: TokenStore, keys: Keyring, batch: int) -> tuple[int, list[tuple[str, str]]]:
    """Return how many rows were rotated, and those that could not be read."""
    rotated, unreadable, after = 0, list[tuple[str, str]](), None
    total = sum(count for key_id, count in settings.rows_by_key(store).items() if key_id != keys.ids[0])
    # Rotation goes over the rows of every profile and mode.
    with settings.local_manager(store, "connect", livemode=False, keys=keys) as manager, progress("rotating") as show:
        while True:
            done = manager.rotate_keys(after=after, limit=batch)
            rotated += done.rotated
            unreadable += done.unreadable
            show(rotated + len(unreadable), max(total, rotated + len(unreadable)))
            after = done.after
            if after is None:
                return rotated, unreadable
