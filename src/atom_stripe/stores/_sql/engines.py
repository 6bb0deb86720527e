"""Makes engines from URLs, with the settings that tokens deserve."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe._wire.postgres_arrays import BYTEA_ARRAY, Binary
from atom_stripe.errors import ConfigurationError

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import URL, create_engine, event, exc, make_url

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy import Engine

_THRESHOLD = 5  # psycopg's own: how often a statement is run before it is prepared
_BUSY = 10.0  # seconds to wait for another writer

# libpq's, in seconds but for the last one: a server that went away without a word is noticed, and does not hold a caller for ever.
_POSTGRES = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def engine_from(url: str | URL) -> Engine:
    """
    Return a new engine for *url*: ``sqlite:///path``, ``postgresql://…`` or ``postgres://…``.

    Raises:
        ConfigurationError: It is no such URL.
        MissingExtraError: psycopg is not installed.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # The URL holds a password, and so does SQLAlchemy's message.
        parsed = None
    if parsed is None:
        msg = "this is no database URL: it looks like sqlite:///path/to/file.db or postgresql://user@host/database"
        raise ConfigurationError(msg)
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _sqlite(parsed)
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return _postgres(parsed)
    msg = f"{parsed.drivername}:// is no database that the SQL stores know: take sqlite:/// or postgresql://"
    raise ConfigurationError(msg)


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.query.get("mode") == "memory":
        msg = "SQLite's memory keeps nothing and belongs to one connection: name a file, or take stores.memory.MemoryTokenStore"
        raise ConfigurationError(msg)
    # The connection that was in use last knows the pages of the file best.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY}, pool_use_lifo=True)
    event.listen(engine, "do_connect", _create_sqlite)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _create_sqlite(_dialect: object, _record: object, arguments: tuple[str, ...], _settings: object) -> None:
    # Payloads hold what customers told the merchant: a new file is for its owner alone, and SQLite gives the mode of the file to those beside it.
    # What cannot be made here cannot be opened either, and SQLite says so.
    if not arguments[0].startswith("file:"):
        with suppress(OSError):
            os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions begin where we say so.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:
        # Somebody is at work in the file. This mode is for speed, it stays in the file, and the next connection asks again.
        return


def _postgres(url: URL) -> Engine:
    with require("psycopg", extra="postgres"):
        import_module("psycopg")  # SQLAlchemy does it too, without our advice
    settings: dict[str, Any] = {name: value for name, value in _POSTGRES.items() if name not in url.query}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        # Each transaction begins where we say so.
        isolation_level="AUTOCOMMIT",
        connect_args={"prepare_threshold": None, **settings},
    )
    event.listen(engine, "connect", _prepare_postgres)
    return engine


def _prepare_postgres(connection: Connection[Any], _record: object) -> None:
    if direct(connection):
        connection.prepare_threshold = _THRESHOLD


def direct(connection: Connection[Any]) -> bool:
    """
    Return whether *connection* goes to one session of the server and stays there.

    A pooler between the two would run the next transaction in another session, where a statement that was prepared in the first one is
    missing, or where its name stands for another statement. Poolers hand out process ids of their own, for they have to find the
    session that a request to cancel is meant for.
    """
    row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return row is not None and row[0] == connection.info.backend_pid


def pass_binary(connection: Connection[Any]) -> None:
    """Let *connection* take a ``Binary`` as it is."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class Passed(Dumper):
        format = Format.BINARY
        oid = BYTEA_ARRAY

        def dump(self, obj: Binary) -> bytes:
            return obj.content

    connection.adapters.register_dumper(Binary, Passed)
