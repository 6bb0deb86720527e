"""
Runs statements on the connections of an engine and keeps two promises: what was written is on disk, and errors hold no values.

Rules: every statement stands in a transaction of its own, with all that it needs. Nothing is left behind in a session, and no lock outlives
a transaction. So it works through a pooler that gives each transaction another session (PgBouncer). Only where there is no pooler, the one
statement that is run all the time is prepared in the session.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from atom_stripe._extras import require
from atom_stripe.errors import ClientClosedError, ConfigurationError, StoreError
from atom_stripe.stores._sql import failures
from atom_stripe.stores._sql.sessions import DURABLE, PostgresSession, SQLiteSession, begin_sqlite
from atom_stripe.stores._sql.statements import POSTGRESQL, SQLITE

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import Engine, exc

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from sqlalchemy import Connection as SqlConnection
    from sqlalchemy import RootTransaction
    from sqlalchemy.pool import PoolProxiedConnection

    from atom_stripe.stores._sql.failures import Failure
    from atom_stripe.stores._sql.sessions import Row, Session
    from atom_stripe.stores._sql.statements import Statement

T = TypeVar("T")

_CLOSED = "this store is closed: make a new one"
_DEADLOCK = "40P01"
_DEADLOCKS = 3


class _Failed(NamedTuple):
    """An attempt that came to nothing. *lost*: the connection is gone."""

    failure: Failure
    lost: bool


class Database:
    """The connections of *engine*, and what is done with them, until it is closed. *owned*: ``close`` closes them."""

    def __init__(self, engine: Engine, *, owned: bool = False) -> None:
        self.dialect = supported(engine)
        self.engine = engine
        self._owned = owned
        self._closed = False
        self._process = os.getpid()
        self._session: Callable[[PoolProxiedConnection], Session] = PostgresSession if self.dialect == POSTGRESQL else SQLiteSession

    def read(self, statement: Statement, doing: str, *, often: bool = False) -> list[Row]:
        """
        Run *statement*, which only reads, and return its rows. *often*: it is worth to be prepared.

        Raises:
            StoreError: It could not be done. *doing* says in words what.
        """

        def work(session: Session) -> list[Row]:
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

        def work(session: Session) -> int:
            written = 0
            for statement in statements:
                written = session.write(statement)
            return written

        return self.transact(work, doing)

    def at_once(self, statement: Statement, doing: str) -> list[Row]:
        """
        Run *statement*, which is a transaction of its own and says itself that it belongs on disk, and return its rows. PostgreSQL only.

        After a deadlock, or when the connection breaks, it is run again, so it must do no harm to run it twice.

        Raises:
            StoreError: It could not be done. If the connection broke, nobody knows whether it was.
        """

        def work(session: Session) -> list[Row]:
            return session.read(statement, often=True)

        result = self._attempt(work)
        if isinstance(result, _Failed) and result.lost:
            # Connections die in a pool when a server restarts.
            result = self._attempt(work)
        result = self._after_deadlocks(result, work)
        if isinstance(result, _Failed):
            raise result.failure.error(doing, unknown=result.lost)
        return result

    def transact(self, work: Callable[[Session], T], doing: str) -> T:
        """
        Run *work* in one transaction, put what it wrote on disk, and return what it returned. After a deadlock it is run again.

        Raises:
            StoreError: It could not be done. If the connection broke, nobody knows whether it was.
        """
        begun = False

        def attempt(session: Session) -> T:
            nonlocal begun
            session.begin()
            begun = True
            result = work(session)
            session.commit()
            return result

        result = self._attempt(attempt)
        if isinstance(result, _Failed) and result.lost and not begun:
            result = self._attempt(attempt)
        result = self._after_deadlocks(result, attempt)
        if isinstance(result, _Failed):
            raise result.failure.error(doing, unknown=result.lost and begun)
        return result

    def _after_deadlocks(self, result: T | _Failed, work: Callable[[Session], T]) -> T | _Failed:
        """Return what comes of *work*, whose last *result* is given, when no deadlock is in its way any more."""
        for _ in range(_DEADLOCKS):
            # Among those who wait for each other the server undid this one, so the others are through.
            if not (isinstance(result, _Failed) and result.failure.code == _DEADLOCK):
                break
            result = self._attempt(work)
        return result

    def close(self) -> None:
        """Close the connections, if the engine was made for them: those in use when their work is done."""
        self._notice_fork()
        self._closed = True
        self._tidy()

    @contextmanager
    def lent(self) -> Generator[Engine]:
        """Yield the engine, for what has transactions of its own."""
        self._demand_open()
        self._notice_fork()
        try:
            yield self.engine
        finally:
            self._tidy()

    def _demand_open(self) -> None:
        if self._closed:
            raise ClientClosedError(_CLOSED)

    def _tidy(self) -> None:
        """Close what is in the pool, if this is closed: whoever brings a connection back afterwards does it once more."""
        if self._closed and self._owned:
            # Not the engine's own dispose(): it takes another pool, and nobody would close what comes back into this one.
            self.engine.pool.dispose()

    @contextmanager
    def transaction(self, doing: str) -> Generator[SqlConnection]:
        """
        Yield a connection of SQLAlchemy's in a transaction that is committed at the end, to disk, and undone after an exception.

        Raises:
            StoreError: It could not be begun or committed. What the caller's own statements raise is the caller's.
        """
        self._demand_open()
        self._notice_fork()
        with ExitStack() as stack:
            connection, begun = self._begun(stack, doing)
            try:
                yield connection
            except BaseException:
                # Not to hide the error that is on its way.
                with suppress(Exception):
                    begun.rollback()
                raise
            if not begun.is_active:
                msg = f"the store could not {doing}: the transaction was ended before, so what was in it is lost or stands alone"
                raise StoreError(msg, retryable=False)
            self._told(begun.commit, doing, unknown=True)

    def _begun(self, stack: ExitStack, doing: str) -> tuple[SqlConnection, RootTransaction]:
        failed: StoreError | None = None
        for _ in range(2):
            attempt = ExitStack()
            try:
                attempt.callback(self._tidy)
                connection = attempt.enter_context(self.engine.connect())
                self._demand_open()
                begun = self._begin(connection, attempt)
            except Exception as error:
                attempt.close()
                if not failures.is_failure(error):
                    raise
                failed = failures.read(error).error(f"begin to {doing}")
                # Connections die in a pool when a server restarts. SQLAlchemy throws the others away too.
                if not (isinstance(error, exc.DBAPIError) and error.connection_invalidated):
                    break
            else:
                stack.enter_context(attempt)
                return connection, begun
        raise cast("StoreError", failed)

    def _begin(self, connection: SqlConnection, stack: ExitStack) -> RootTransaction:
        """Begin a transaction on *connection*, whatever the engine does about transactions by itself."""
        if self.dialect == POSTGRESQL:
            begun = connection.execution_options(isolation_level="READ COMMITTED").begin()
            connection.exec_driver_sql(DURABLE)
            return begun
        plain: Any = connection.connection.driver_connection
        before, plain.isolation_level = plain.isolation_level, None
        stack.callback(setattr, plain, "isolation_level", before)
        begun = connection.begin()
        begin_sqlite(plain, connection.connection.info)
        return begun

    @staticmethod
    def _told(call: Callable[[], T], doing: str, *, unknown: bool = False) -> T:
        """Return what *call* returns, or raise what went wrong in our words."""
        try:
            return call()
        except Exception as error:
            if not failures.is_failure(error):
                raise
            lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
            failed = failures.read(error).error(doing, unknown=unknown and lost)
        raise failed

    def _notice_fork(self) -> None:
        if self._process != os.getpid():
            # The connections in the pool are the parent's, and their answers too.
            self.engine.dispose(close=False)
            self._process = os.getpid()

    def _attempt(self, work: Callable[[Session], T]) -> T | _Failed:
        """
        Return what *work* returns with a connection.

        A failure is returned and not raised: an error that is raised while another one is handled drags that one along, values and all.
        """
        self._demand_open()
        self._notice_fork()
        pooled = session = None
        sound = False
        try:
            pooled = self.engine.raw_connection()
            # Somebody may have closed it while this one waited for its connection.
            self._demand_open()
            session = self._session(pooled)
            result = work(session)
            session.leave()
            sound = True
        except Exception as error:
            if not failures.is_failure(error):
                raise
            # It may have been found dead while it was being got ready.
            lost = session.lost() if session is not None else bool(pooled and getattr(pooled.driver_connection, "closed", False))
            failed = _Failed(failures.read(error), lost)
        else:
            return result
        finally:
            if pooled is not None:
                if not sound:
                    # Whatever state it is in, nobody else shall meet it.
                    pooled.invalidate()
                pooled.close()
                self._tidy()
        if failed.lost:
            # The others in the pool are likely to be gone too, and are replaced when they are wanted. To dispose of the pool would leave those
            # that are in use to the garbage collector, and their sockets open until then.
            self.engine.pool._invalidate(cast("Any", pooled))  # noqa: SLF001 - what SQLAlchemy itself does about a connection that is lost
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
