"""Reads and removes what the table of plaintext tokens holds that ``upgrade`` set aside. The import command does the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError
from atom_stripe.stores._sql import failures
from atom_stripe.stores._sql.database import Database
from atom_stripe.stores._sql.statements import POSTGRESQL, SQLITE, Statement, statement
from atom_stripe.stores._sql.tables import seconds

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import MetaData, Table, delete, exc, select, types

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Column, ColumnElement, Engine

ORIGINAL = "stripe_oauth_tokens_original"

_AT_ONCE = 500
_NEEDED = ("id", "user_id", "access_token")
_TEXTS = ("refresh_token", "token_type", "stripe_user_id", "stripe_publishable_key", "scope")
_MOMENTS = ("expires_at", "created_at", "updated_at")
# Nothing in the table keeps these from being NULL but its own rules.
_ABSENT = {"user_id": "", "access_token": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalToken:
    """A row of the table of plaintext tokens. Times are seconds since 1970; those without a time zone are read as UTC."""

    id: int | str
    user_id: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    token_type: str | None = None
    expires_at: float | None = None
    stripe_user_id: str | None = None
    stripe_publishable_key: str | None = None
    scope: str | None = None
    created_at: float | None = None
    updated_at: float | None = None


def read_original(
    engine: Engine,
    table: str = ORIGINAL,
    *,
    after: int | str | None = None,
    limit: int = 100,
) -> list[OriginalToken]:
    """
    Return *limit* rows of *table* at most, in the order of their ids, after the id *after*. A table that is not there has no rows.

    ``id``, ``user_id`` and ``access_token`` must be there; what other columns are missing is ``None``, and so is a time that is none.

    Raises:
        ConfigurationError: *table* is another kind of table.
        StoreError: The database is away, or refused.
    """
    database = Database(engine)
    found = _reflected(engine, table)
    if found is None:
        return []
    if missing := [name for name in _NEEDED if name not in found.c]:
        msg = f"{table} holds no tokens: it has no column {missing[0]}"
        raise ConfigurationError(msg)
    names = [name for name in (*_NEEDED, *_TEXTS, *_MOMENTS) if name in found.c]
    rows = select(*(_readable(found.c[name], database.dialect) for name in names)).order_by(found.c.id).limit(max(0, limit))
    if after is not None:
        rows = rows.where(found.c.id > after)
    return [_token(dict(zip(names, row, strict=True))) for row in database.read(statement(database.dialect, rows), f"read {table}")]


def delete_original(engine: Engine, table: str, ids: Iterable[int | str]) -> int:
    """
    Delete the rows with these *ids* from *table*, and return how many there were.

    SQLite overwrites them in its file. PostgreSQL frees their place for later rows at the next ``VACUUM``; drop the table when it is empty,
    and remember that backups and replicas of it hold the tokens too.

    Raises:
        StoreError: The database is away, or refused. What was deleted until then stays deleted: call again.
    """
    database = Database(engine)
    doing = f"remove rows of {table}"
    wanted = list(ids)
    found = _reflected(engine, table) if wanted else None
    if found is None:
        return 0
    sqlite = database.dialect == SQLITE
    before = [Statement("PRAGMA secure_delete = ON", {})] if sqlite else []
    count = 0
    for start in range(0, len(wanted), _AT_ONCE):
        chosen = delete(found).where(found.c.id.in_(wanted[start : start + _AT_ONCE]))
        count += database.write([*before, statement(database.dialect, chosen)], doing)
    if sqlite:
        # The log of changes still has the pages as they were.
        database.read(Statement("PRAGMA wal_checkpoint(TRUNCATE)", {}), doing)
    return count


def _reflected(engine: Engine, name: str) -> Table | None:
    """Return the table *name* as it is in the database."""
    try:
        return Table(name, MetaData(), autoload_with=engine)
    except exc.NoSuchTableError:
        return None
    except exc.SQLAlchemyError as error:
        failed = failures.read(error).error(f"look at {name}")
    raise failed


def _readable(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    # PostgreSQL has times that Python has not.
    return seconds(column) if dialect == POSTGRESQL and isinstance(column.type, (types.DateTime, types.Date)) else column


def _token(row: dict[str, Any]) -> OriginalToken:
    for name in _MOMENTS:
        row[name] = _seconds(row.get(name))
    for name in (*_NEEDED[1:], *_TEXTS):
        value = row.get(name)
        row[name] = str(value) if value is not None else _ABSENT.get(name)
    return OriginalToken(**row)


def _seconds(value: object) -> float | None:
    """Return a time as SQLite keeps it: as whatever it was given."""
    if isinstance(value, (int, float)):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
