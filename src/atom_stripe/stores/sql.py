"""
Stores for tokens and for the inbox in SQLite and PostgreSQL, over SQLAlchemy.

    store = SqlTokenStore.from_url("postgresql://app@db/app")
    inbox = SqlInboxStore.from_url("sqlite:///inbox.db")

``upgrade`` makes their tables, and brings them up to date: once for each release, before it runs. Nothing here makes tables by itself.

Installed with ``atom-stripe[sql]``, which is enough for SQLite, or ``atom-stripe[postgres]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from atom_stripe.stores._sql.database import Database
from atom_stripe.stores._sql.engines import engine_from
from atom_stripe.stores._sql.inbox import SqlInboxStore
from atom_stripe.stores._sql.migrations import current, pending, upgrade
from atom_stripe.stores._sql.original import OriginalToken, delete_original, read_original
from atom_stripe.stores._sql.statements import authorization, statements, token_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sqlalchemy import URL, Engine

    from atom_stripe.protocols import Authorization, Reference, TokenQuery, TokenRecord

__all__ = [
    "AsyncSqlTokenStore",
    "OriginalToken",
    "SqlInboxStore",
    "SqlTokenStore",
    "current",
    "delete_original",
    "pending",
    "read_original",
    "upgrade",
]

T = TypeVar("T")

_THREADS = 16  # at a time for the calls of one async store: a little more than a pool has connections


class SqlTokenStore:
    """
    A ``TokenStore`` in SQLite or PostgreSQL. Threads share it; a process that was forked gets connections of its own.

    *engine*: an ``Engine`` of yours, for ``sqlite://`` or ``postgresql+psycopg://``; ``close`` leaves it open unless *close_engine* is
    true. Every statement runs in a transaction of its own and on the driver's connection, so the events and the echo of the engine do not see it.

    ``save`` and ``save_authorization`` return when the row is on disk: they ask PostgreSQL for ``synchronous_commit`` and SQLite for
    ``synchronous = FULL``, whatever is configured. They leave nothing in the session, so the store works behind PgBouncer's transaction
    pooling. When the connection breaks during a commit, the ``StoreError`` cannot say whether the row was written: load it again.

    Raises:
        ConfigurationError: *engine* is for another database or driver, or is async.
    """

    def __init__(self, engine: Engine, *, close_engine: bool = False) -> None:
        self._database = Database(engine, owned=close_engine)
        self._statements = statements(self._database.dialect)

    @classmethod
    def from_url(cls, url: str | URL) -> Self:
        """
        Return a store with an engine of its own: ``sqlite:///path``, ``postgresql://…`` or ``postgres://…``. ``close()`` closes it.

        Raises:
            ConfigurationError: *url* is no such URL.
            MissingExtraError: psycopg is not installed.
        """
        return cls(engine_from(url), close_engine=True)

    def load(self, reference: Reference, /) -> TokenRecord | None:
        """
        Return the row of *reference*, ``None`` if there is none.

        Raises:
            ConfigurationError: The user id is longer than 255 characters, or no text for a database.
            StoreError: The database is away, or refused.
        """
        rows = self._database.read(self._statements.load(reference), "load a connection", often=True)
        return token_record(rows[0]) if rows else None

    def save(self, record: TokenRecord, /) -> bool:
        """
        Write *record* as version ``record.version + 1``, if the stored row still has the version ``record.version``.

        Version 0 inserts, if neither the id nor the reference is taken. Returns whether it was written. Times are kept to the microsecond.

        Raises:
            ConfigurationError: The user id is longer than 255 characters, or no text for a database.
            StoreError: The database is away, or refused. After a broken connection the row may have been written.
        """
        return self._database.write([self._statements.save(record)], "save a connection") == 1

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """
        Return the rows that *query* asks for.

        Raises:
            StoreError: The database is away, or refused.
        """
        return [token_record(row) for row in self._database.read(self._statements.find(query), "find connections")]

    def load_authorization(self, digest: str, /) -> Authorization | None:
        """
        Return the authorization under *digest*, ``None`` if there is none.

        Raises:
            StoreError: The database is away, or refused.
        """
        rows = self._database.read(self._statements.load_authorization(digest), "load an authorization")
        return authorization(rows[0]) if rows else None

    def save_authorization(self, authorization: Authorization, /) -> bool:
        """
        Write *authorization* as ``save`` does: version 0 inserts if the digest is free, others replace their own version.

        An insert removes some of those that expired a day before it began.

        Raises:
            ConfigurationError: The user id is longer than 255 characters, or no text for a database.
            StoreError: The database is away, or refused. After a broken connection it may have been written.
        """
        return self._database.write(self._statements.save_authorization(authorization), "save an authorization") == 1

    def close(self) -> None:
        """
        Close the connections: those that ``from_url`` opened, and those of an engine of yours with *close_engine*. Later calls raise
        ``ClientClosedError``.
        """
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class AsyncSqlTokenStore:
    """
    As ``SqlTokenStore``, for async programs, under asyncio and trio.

    Each call runs in a worker thread: the drivers' own async forms know asyncio only, and SQLite has none. A call that is cancelled is
    finished in its thread: what it wrote is there. *engine* is a sync ``Engine``; for an ``AsyncEngine``, give its url to ``from_url``.

    Raises:
        ConfigurationError: *engine* is for another database or driver, or is async.
    """

    def __init__(self, engine: Engine, *, close_engine: bool = False) -> None:
        self._store = SqlTokenStore(engine, close_engine=close_engine)
        # Threads of our own: those that everybody shares may all be waiting for us. Each event loop has its own count.
        self._limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(f"{__name__}.{id(self)}")

    @classmethod
    def from_url(cls, url: str | URL) -> Self:
        """
        Return a store with an engine of its own: ``sqlite:///path``, ``postgresql://…`` or ``postgres://…``. ``close()`` closes it.

        Raises:
            ConfigurationError: *url* is no such URL.
            MissingExtraError: psycopg is not installed.
        """
        return cls(engine_from(url), close_engine=True)

    async def _run(self, call: Callable[[Any], T], argument: object) -> T:
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(_THREADS)
            self._limiter.set(limiter)
        return await anyio.to_thread.run_sync(call, argument, limiter=limiter)

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """
        Return the row of *reference*, ``None`` if there is none.

        Raises:
            ConfigurationError: The user id is longer than 255 characters, or no text for a database.
            StoreError: The database is away, or refused.
        """
        return await self._run(self._store.load, reference)

    async def save(self, record: TokenRecord, /) -> bool:
        """
        Write *record* as version ``record.version + 1``, if the stored row still has the version ``record.version``.

        Version 0 inserts, if neither the id nor the reference is taken. Returns whether it was written. Times are kept to the microsecond.

        Raises:
            ConfigurationError: The user id is longer than 255 characters, or no text for a database.
            StoreError: The database is away, or refused. After a broken connection the row may have been written.
        """
        return await self._run(self._store.save, record)

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """
        Return the rows that *query* asks for.

        Raises:
            StoreError: The database is away, or refused.
        """
        return await self._run(self._store.find, query)

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        """
        Return the authorization under *digest*, ``None`` if there is none.

        Raises:
            StoreError: The database is away, or refused.
        """
        return await self._run(self._store.load_authorization, digest)

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        """
        Write *authorization* as ``save`` does: version 0 inserts if the digest is free, others replace their own version.

        An insert removes some of those that expired a day before it began.

        Raises:
            ConfigurationError: The user id is longer than 255 characters, or no text for a database.
            StoreError: The database is away, or refused. After a broken connection it may have been written.
        """
        return await self._run(self._store.save_authorization, authorization)

    async def close(self) -> None:
        """
        Close the connections: those that ``from_url`` opened, and those of an engine of yours with *close_engine*. Later calls raise
        ``ClientClosedError``.
        """
        await anyio.to_thread.run_sync(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
