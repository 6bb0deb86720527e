"""The connections of the two drivers, and what each one needs to begin a transaction that is on disk at its end."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any, Protocol, cast

from atom_stripe.stores._sql.engines import direct, pass_binary

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy.pool import PoolProxiedConnection

    from atom_stripe.stores._sql.statements import Statement

Row = tuple[Any, ...]

# One message to the server. It commits to disk, whatever the server does for others; who waits for replicas goes on to do that.
# It is also the first sign of a connection that died in the pool, while nothing is lost yet.
DURABLE = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') <> 'remote_apply'"
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '10s'; {DURABLE}"
_FULL = 2
_DIRECT = "atom_stripe.direct"
_FILE = "atom_stripe.file"


class Session(Protocol):
    """The connection of one driver, in use. *connection*: the driver's own. *often*: the statement is worth to be prepared."""

    @property
    def connection(self) -> Any: ...

    def read(self, statement: Statement, *, often: bool = False) -> list[Row]: ...
    def begin(self) -> None: ...
    def write(self, statement: Statement, *, often: bool = False) -> int: ...
    def commit(self) -> None: ...
    def lost(self) -> bool: ...
    def leave(self) -> None: ...


class PostgresSession:
    """A connection of psycopg's."""

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self.connection: Connection[Any] = cast("Any", pooled.driver_connection)
        self._autocommit = self.connection.autocommit
        if not self._autocommit:
            # Else psycopg sends a BEGIN of its own before each statement, and a ROLLBACK would follow: three round trips for one.
            self.connection.autocommit = True
        facts = pooled.info
        if _DIRECT not in facts:
            facts[_DIRECT] = direct(self.connection)
            pass_binary(self.connection)
        # None: as soon as psycopg's own count says so.
        self._prepare = None if facts[_DIRECT] else False

    def read(self, statement: Statement, *, often: bool = False) -> list[Row]:
        prepare = self._prepare if often else False
        return self.connection.execute(statement.sql.encode(), statement.parameters, prepare=prepare).fetchall()

    def begin(self) -> None:
        self.connection.execute(_BEGIN, prepare=False)

    def write(self, statement: Statement, *, often: bool = False) -> int:
        prepare = self._prepare if often else False
        return self.connection.execute(statement.sql.encode(), statement.parameters, prepare=prepare).rowcount

    def commit(self) -> None:
        self.connection.commit()

    def lost(self) -> bool:
        return self.connection.closed

    def leave(self) -> None:
        if not self._autocommit and not self.connection.closed:
            self.connection.rollback()
            self.connection.autocommit = False


class SQLiteSession:
    """A connection of sqlite3's."""

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self.connection = cast("sqlite3.Connection", pooled.driver_connection)
        self._facts = pooled.info

    def read(self, statement: Statement, *, often: bool = False) -> list[Row]:  # noqa: ARG002 - every statement is kept prepared
        return self.connection.execute(statement.sql, statement.parameters).fetchall()

    def begin(self) -> None:
        begin_sqlite(self.connection, self._facts)

    def write(self, statement: Statement, *, often: bool = False) -> int:  # noqa: ARG002 - every statement is kept prepared
        return self.connection.execute(statement.sql, statement.parameters).rowcount

    def commit(self) -> None:
        self.connection.commit()

    def lost(self) -> bool:
        return False

    def leave(self) -> None:
        pass


def begin_sqlite(connection: sqlite3.Connection, facts: dict[Any, Any]) -> None:
    """Begin to write on *connection*, to disk. *facts*: what is known of it."""
    if connection.in_transaction:
        return  # a connection that is always in one (autocommit=False)
    _check_file(connection, facts)
    if connection.execute("PRAGMA synchronous").fetchone()[0] < _FULL:
        connection.execute("PRAGMA synchronous = FULL")
    # The lock to write comes first: who begins by reading may find that another one wrote, and has to begin again.
    connection.execute("BEGIN IMMEDIATE")


def _check_file(connection: sqlite3.Connection, facts: dict[Any, Any]) -> None:
    """Refuse a file that was removed or replaced: SQLite would go on writing to one that nobody can open any more."""
    if _FILE not in facts:
        name = connection.execute("PRAGMA database_list").fetchone()[2]
        facts[_FILE] = name, _identity(name)
    name, identity = facts[_FILE]
    if name and (identity is None or _identity(name) != identity):
        msg = "the file was removed or replaced"
        moved = sqlite3.OperationalError(msg)
        moved.sqlite_errorcode, moved.sqlite_errorname = sqlite3.SQLITE_READONLY_DBMOVED, "SQLITE_READONLY_DBMOVED"
        raise moved


def _identity(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - once for each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino
