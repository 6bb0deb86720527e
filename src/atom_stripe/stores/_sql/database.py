"""
Runs statements on the connections of an engine and keeps two promises: what was written is on disk, and errors hold no values.

Rules: every statement stands in a transaction of its own, with all that it needs. Nothing is left behind in a session, and no lock outlives
a transaction. So it works through a pooler that gives each transaction another session (PgBouncer). Only where there is no pooler, the one
statement that is run all the time is prepared in the session.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError
from atom_stripe.stores._sql import failures
from atom_stripe.stores._sql.engines import direct
from atom_stripe.stores._sql.statements import POSTGRESQL, SQLITE

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import Engine

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from psycopg import Connection
    from sqlalchemy.pool import PoolProxiedConnection

    from atom_stripe.stores._sql.failures import Failure
    from atom_stripe.stores._sql.statements import Statement

T = TypeVar("T")
Row = tuple[Any, ...]

# One message to the server. It commits to disk, whatever the server does for others; who waits for replicas goes on to do that.
# It is also the first sign of a connection that died in the pool, while nothing is lost yet.
_BEGIN = """
BEGIN;
SET LOCAL lock_timeout = '10s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') <> 'remote_apply'
"""
_FULL = 2
_DIRECT = "atom_stripe.direct"


class _Session(Protocol):
    """The connection of one driver, in use."""

    def read(self, statement: Statement, *, often: bool) -> list[Row]: ...
    def begin(self) -> None: ...
    def write(self, statement: Statement) -> int: ...
    def commit(self) -> None: ...
    def lost(self) -> bool: ...
    def leave(self) -> None: ...


class _Postgres:
    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self._connection: Connection[Any] = cast("Any", pooled.driver_connection)
        self._autocommit = self._connection.autocommit
        if not self._autocommit:
            # Else psycopg sends a BEGIN of its own before each statement, and a ROLLBACK would follow: three round trips for one.
            self._connection.autocommit = True
        facts = pooled.info
        if _DIRECT not in facts:
            facts[_DIRECT] = direct(self._connection)
        # None: as soon as psycopg's own count says so.
        self._prepare = None if facts[_DIRECT] else False

    def read(self, statement: Statement, *, often: bool) -> list[Row]:
        prepare = self._prepare if often else False
        return self._connection.execute(statement.sql.encode(), statement.parameters, prepare=prepare).fetchall()

    def begin(self) -> None:
        self._connection.execute(_BEGIN, prepare=False)

    def write(self, statement: Statement) -> int:
        return self._connection.execute(statement.sql.encode(), statement.parameters, prepare=False).rowcount

    def commit(self) -> None:
        self._connection.commit()

    def lost(self) -> bool:
        return self._connection.closed

    def leave(self) -> None:
        if not self._autocommit and not self._connection.closed:
            self._connection.rollback()
            self._connection.autocommit = False


class _SQLite:
    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self._connection = cast("sqlite3.Connection", pooled.driver_connection)

    def read(self, statement: Statement, *, often: bool) -> list[Row]:  # noqa: ARG002 - every statement is kept prepared
        return self._connection.execute(statement.sql, statement.parameters).fetchall()

    def begin(self) -> None:
        if self._connection.in_transaction:
            return  # a connection that is always in one (autocommit=False)
        if self._connection.execute("PRAGMA synchronous").fetchone()[0] < _FULL:
            self._connection.execute("PRAGMA synchronous = FULL")
        # The lock to write comes first: who begins by reading may find that another one wrote, and has to begin again.
        self._connection.execute("BEGIN IMMEDIATE")

    def write(self, statement: Statement) -> int:
        return self._connection.execute(statement.sql, statement.parameters).rowcount

    def commit(self) -> None:
        self._connection.commit()

    def lost(self) -> bool:
        return False

    def leave(self) -> None:
        pass


class _Failed(NamedTuple):
    """An attempt that came to nothing. *lost*: the connection is gone."""

    failure: Failure
    lost: bool


class Database:
    """The connections of *engine*, and what is done with them. *owned*: ``close`` closes them."""

    def __init__(self, engine: Engine, *, owned: bool = False) -> None:
        self.dialect = supported(engine)
        self.engine = engine
        self._owned = owned
        self._process = os.getpid()
        self._session: Callable[[PoolProxiedConnection], _Session] = _Postgres if self.dialect == POSTGRESQL else _SQLite

    def read(self, statement: Statement, doing: str, *, often: bool = False) -> list[Row]:
        """
        Run *statement*, which only reads, and return its rows. *often*: it is worth to be prepared.

        Raises:
            StoreError: It could not be done. *doing* says in words what.
        """

        def work(session: _Session) -> list[Row]:
            return session.read(statement, often=often)

        result = self._attempt(work)
        if isinstance(result, _Failed) and result.lost:
            # Connections die in a pool when a server restarts. Reading once more does no harm.
            result = self._attempt(work)
        if isinstance(result, _Failed):
            raise result.failure.error(doing)
        return result

    def write(self, statements: Sequence[Statement], doing: str) -> int:
        """
        Run *statements* in one transaction, put them on disk, and return how many rows the last one wrote.

        Raises:
            StoreError: It could not be done. If the connection broke, nobody knows whether it was.
        """
        begun = False

        def work(session: _Session) -> int:
            nonlocal begun
            session.begin()
            begun = True
            written = 0
            for statement in statements:
                written = session.write(statement)
            session.commit()
            return written

        result = self._attempt(work)
        if isinstance(result, _Failed) and result.lost and not begun:
            result = self._attempt(work)
        if isinstance(result, _Failed):
            raise result.failure.error(doing, unknown=result.lost and begun)
        return result

    def close(self) -> None:
        """Close the connections, if the engine was made for them."""
        if self._owned:
            self.engine.dispose()

    def _attempt(self, work: Callable[[_Session], T]) -> T | _Failed:
        """
        Return what *work* returns with a connection.

        A failure is returned and not raised: an error that is raised while another one is handled drags that one along, values and all.
        """
        if self._process != os.getpid():
            # A fork: the connections in the pool are the parent's, and their answers too.
            self.engine.dispose(close=False)
            self._process = os.getpid()
        pooled = session = None
        sound = False
        try:
            pooled = self.engine.raw_connection()
            session = self._session(pooled)
            result = work(session)
            session.leave()
            sound = True
        except Exception as error:
            if not failures.is_failure(error):
                raise
            failed = _Failed(failures.read(error), session is not None and session.lost())
        else:
            return result
        finally:
            if pooled is not None:
                if not sound:
                    # Whatever state it is in, nobody else shall meet it.
                    pooled.invalidate()
                pooled.close()
        if failed.lost:
            # The others in the pool are likely to be gone too. Those in use are left alone.
            self.engine.dispose()
        return failed


def supported(engine: Engine) -> str:
    """
    Return which database *engine* is for.

    Raises:
        ConfigurationError: It is for none that we know, or it is async.
    """
    if not isinstance(engine, Engine):
        msg = "engine must be an Engine of SQLAlchemy's; for an AsyncEngine, give its url to from_url(): calls run in threads"
        raise ConfigurationError(msg)
    name, driver = engine.dialect.name, engine.dialect.driver
    if (name, driver) not in {(SQLITE, "pysqlite"), (POSTGRESQL, "psycopg")}:
        msg = f"an engine for {name}+{driver} cannot be used: make one for sqlite:// or postgresql+psycopg://"
        raise ConfigurationError(msg)
    return name
