"""The inbox in SQLite and PostgreSQL."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from atom_stripe.errors import ClaimLostError, ConfigurationError, StoreError
from atom_stripe.protocols import AuditEntry, Delivery, InboxCounts, InboxRecord, Nothing, Waiting
from atom_stripe.stores._sql import failures
from atom_stripe.stores._sql.appending import Appending, Writes
from atom_stripe.stores._sql.bundling import together
from atom_stripe.stores._sql.database import Database
from atom_stripe.stores._sql.engines import engine_from
from atom_stripe.stores._sql.inbox_statements import inbox_record, inbox_statements
from atom_stripe.stores._sql.statements import POSTGRESQL
from atom_stripe.stores._sql.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from sqlalchemy import URL, Connection, Engine

    from atom_stripe.protocols import Appended, Arrival, InboxQuery, Refusal, Step, Wake
    from atom_stripe.stores._sql.sessions import Session

T = TypeVar("T")

_SINCE = "atom_stripe.since"
_AT_ONCE = 1000  # ids in one statement
_LOOKS = 3  # at a lane that others change at the same time
_LOST = "another run has taken over the event, or the claim on it has ended; nothing was written"


class _Writes(Writes, Protocol):
    def alone(self, doing: str) -> AbstractContextManager[None]: ...


class _Direct:
    """Writes of a database that takes many at a time."""

    def __init__(self, database: Database) -> None:
        self.run = database.transact

    @staticmethod
    def alone(doing: str) -> AbstractContextManager[None]:  # noqa: ARG004 - nobody waits
        return nullcontext()


class SqlInboxStore:
    """
    An ``InboxStore`` in SQLite or PostgreSQL. Threads share it; a process that was forked gets connections of its own.

    *engine*: an ``Engine`` of yours, for ``sqlite://`` or ``postgresql+psycopg://``; ``close`` leaves it open unless *close_engine* is true.

    What a method has written is on disk when it returns: ``synchronous_commit`` and ``synchronous = FULL`` are asked for, whatever is
    configured. Claims end by the clock of PostgreSQL, or of the machine that SQLite is on. No lock outlives a transaction, so PgBouncer's
    transaction pooling is fine. SQLite has one writer at a time: the threads of a process take turns, and an open ``transaction()`` holds up all.

    Raises:
        ConfigurationError: *engine* is for another database or driver, or is async.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        close_engine: bool = False,
    ) -> None:
        self._database = Database(engine, owned=close_engine)
        self._is_postgres = self._database.dialect == POSTGRESQL
        self._statements = inbox_statements(self._database.dialect)
        self._writes: _Writes = _Direct(self._database) if self._is_postgres else Turns(self._database)
        self._appending = Appending(self._database, self._writes, self._statements)

    @classmethod
    def from_url(cls, url: str | URL) -> Self:
        """
        Return a store with an engine of its own: ``sqlite:///path``, ``postgresql://…`` or ``postgres://…``. ``close()`` closes it.

        Raises:
            ConfigurationError: *url* is no such URL.
            MissingExtraError: psycopg is not installed.
        """
        return cls(engine_from(url), close_engine=True)

    @property
    def writers(self) -> int:
        """How many threads may well append at a time: while one batch of two goes to disk, PostgreSQL takes the other."""
        return 2 if self._is_postgres else 1

    @property
    def wakes(self) -> bool:
        """Whether an engine can tell other processes of what is stored: on PostgreSQL."""
        return self._is_postgres

    @property
    def bundles(self) -> bool:
        """Whether several events share a transaction: on SQLite, which has one writer, and waits for the disk each time."""
        return not self._is_postgres

    def append(self, arrivals: Sequence[Arrival | Refusal], wake: Wake | None = None, /) -> Sequence[Appended | StoreError | None]:
        """
        Store *arrivals* durably, and return for each what became of it; ``None`` for a refusal.

        An arrival that the database does not take fails alone: its entry is the error. A duplicate of a parked event makes its parked
        handlers pending again, with their attempts counted anew, unless the event could not be read. *wake* is called inside the transaction with
        the driver's connection and the lanes in which there is something new to do; if it raises, nothing is stored. All is one transaction,
        but for a ``SqlWake`` or none on PostgreSQL: there what is new is one statement, and what was here before a second transaction.

        Raises:
            StoreError: The database is away, or refused; nothing was stored. After a broken connection it may have been: sent again, it
                is found to be a duplicate.
        """
        if not arrivals:
            return []
        return self._appending.append(arrivals, wake)

    def waiting(self, after: int, limit: int, /) -> Sequence[Waiting]:
        """
        Return the pending events with ids above *after*, in the order of their ids.

        Raises:
            StoreError: The database is away, or refused.
        """
        statement = self._statements.get("waiting", after=after, limit=limit)
        return [Waiting(*row) for row in self._database.read(statement, "look for pending events", often=True)]

    def claim(self, lane: str, run: str, lease: float, /) -> InboxRecord | Nothing:
        """
        Claim the head of *lane* under the name *run* for *lease* seconds, count the attempt, and return it with its payload.

        Raises:
            StoreError: The database is away, or refused. After a broken connection the claim may hold.
        """

        def work(session: Session) -> InboxRecord | Nothing:
            if self._is_postgres:
                session.read(self._statements.lock(lane), often=True)
            return self._claim(session, lane, run, lease)

        return self._writes.run(work, "claim an event")

    def advance(self, step: Step, claim_next: float | None = None, /, *, connection: Any = None) -> InboxRecord | Nothing | None:
        """
        Write *step*, if its claim still holds. With *claim_next*, claim the next head of the lane in the same transaction, under the same
        name and for that many seconds, and return it.

        *connection*: one that ``transaction()`` gave: the step then becomes part of that transaction, and nothing is claimed.

        Raises:
            ClaimLostError: Another run has taken over, or the time was up. Nothing was written.
            StoreError: The database is away, or refused, or the transaction of *connection* has ended.
        """
        if connection is not None:
            self._advance_within(step, connection)
            return None

        def work(session: Session) -> tuple[bool, InboxRecord | Nothing | None]:
            rows = [] if claim_next is None else session.read(self._statements.lock_of(step.id), often=True)
            if not session.write(self._statements.advance(step, time.time()), often=True):
                return False, None
            if claim_next is None:
                return True, None
            return True, self._claim(session, rows[0][0], step.run, claim_next)

        written, claimed = self._writes.run(work, "write what became of an event")
        if not written:
            raise ClaimLostError(_LOST)
        return claimed

    def _advance_within(self, step: Step, connection: Connection) -> None:
        # While a transaction of SQLite's is open nobody can have claimed anything since.
        now = connection.info.get(_SINCE, time.time()) if connection.in_transaction() else None
        if now is None:
            msg = "the transaction of the handler was committed or rolled back before its end: leave both to the inbox"
            raise StoreError(msg, retryable=False)
        statements = [self._statements.lock_of(step.id)] if self._is_postgres else []
        try:
            for statement in statements:
                # Until the commit nobody claims in this lane, not even after the end of the claim.
                connection.exec_driver_sql(statement.sql, dict(statement.parameters))
            update = self._statements.advance(step, now)
            written = connection.exec_driver_sql(update.sql, dict(update.parameters)).rowcount
        except Exception as error:
            if not failures.is_failure(error):
                raise
            failed = failures.read(error).error("write what became of an event")
        else:
            if not written:
                raise ClaimLostError(_LOST)
            return
        raise failed

    def together(
        self, steps: Sequence[Step], claims: Mapping[str, str], lease: float, fits: Callable[[str], bool], /
    ) -> tuple[Sequence[Step], Mapping[str, InboxRecord | Nothing | None]]:
        """
        Write *steps*, each if its claim still holds, and then claim the heads of lanes that are fresh and whose type *fits*, all in one
        transaction. *claims*: the lanes, and under which name to claim in each.

        Returns the steps whose claims are lost, and for each lane what ``claim`` would have returned, or ``None`` for a head that is not for this.

        Raises:
            StoreError: The database is away, or refused.
            ConfigurationError: It is PostgreSQL.
        """
        if self._is_postgres:
            msg = "on PostgreSQL every event has transactions of its own: call claim() and advance()"
            raise ConfigurationError(msg)
        return self._writes.run(
            lambda session: together(session, self._statements, steps, claims, lease=lease, fits=fits),
            "write what became of events",
        )

    def _claim(self, session: Session, lane: str, run: str, lease: float) -> InboxRecord | Nothing:
        now = time.time()
        for _ in range(_LOOKS):
            rows = session.read(self._statements.get("claim", lane=lane, run=run, lease=float(lease), now=now), often=True)
            if rows:
                return inbox_record(rows[0])
            found = self._look(session, lane, now)
            if found is not None:
                return found
            # Between the two looks somebody made it claimable.
        return Nothing(now, now)

    def _look(self, session: Session, lane: str, now: float) -> Nothing | None:
        """Return why nothing was claimed in *lane*, or ``None`` if something can be."""
        [(now, held, head, due_at)] = session.read(self._statements.get("lane", lane=lane, now=now), often=True)
        if held is not None:
            return Nothing(held, now)
        if head is None:
            return Nothing(None, now)
        return Nothing(due_at, now) if due_at is not None and due_at > now else None

    def extend(self, runs: Sequence[str], lease: float, /) -> None:
        """
        Let the claims of *runs* last *lease* seconds from now on, those that still hold.

        Raises:
            StoreError: The database is away, or refused.
        """
        if not runs:
            return

        def work(session: Session) -> None:
            for start in range(0, len(runs), _AT_ONCE):
                session.write(self._statements.extend(runs[start : start + _AT_ONCE], float(lease), time.time()))

        self._writes.run(work, "extend claims")

    def release(self, run: str, /) -> None:
        """
        End the claim of *run*, if it still holds, without counting it as an attempt of a handler.

        Raises:
            StoreError: The database is away, or refused.
        """
        self._writes.run(
            lambda session: session.write(self._statements.get("release", run=run, now=time.time())), "release a claim"
        )

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """
        Open a transaction for a handler: yields a ``sqlalchemy.Connection``, to which an ORM session can be bound. It is committed at the end,
        to disk, and undone after an exception. Leave committing to it.

        Raises:
            StoreError: It could not be begun or committed. After a broken connection it may have been committed.
        """
        doing = "commit a handler's transaction"
        with self._writes.alone(doing), self._database.transaction(doing) as connection:
            connection.info[_SINCE] = time.time()
            try:
                yield connection
            finally:
                if not connection.closed and not connection.invalidated:
                    connection.info.pop(_SINCE, None)

    def find(self, query: InboxQuery, /) -> Sequence[InboxRecord]:
        """
        Return the events that *query* asks for.

        Raises:
            StoreError: The database is away, or refused.
        """
        return [inbox_record(row) for row in self._database.read(self._statements.find(query), "find events")]

    def change(
        self, ids: Sequence[int], change: Callable[[InboxRecord], InboxRecord | None], entry: AuditEntry | None = None, /
    ) -> Sequence[InboxRecord]:
        """
        Change the handlers, status, due_at and lane of events that nobody has claimed, each as *change* returns it, and write *entry* in the same
        transaction. Returns those that were changed. *change* may be asked more than once, and must not call the store.

        Raises:
            StoreError: The database is away, or refused.
        """
        wanted = sorted(set(ids))

        def work(session: Session) -> list[InboxRecord]:
            changed: list[InboxRecord] = []
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                if self._is_postgres:
                    # Who waits here for a purge looks only afterwards, in a statement of its own, which sees that the payload is gone.
                    session.read(self._statements.lock_events(some))
                rows = session.read(self._statements.records(some))
                [(now,)] = session.read(self._statements.get("now", now=time.time()))
                changed += self._change(session, [inbox_record(row) for row in rows], change, now)
            if entry is not None:
                session.write(self._entry(entry))
            return changed

        return self._writes.run(work, "change events")

    def _change(
        self, session: Session, records: Sequence[InboxRecord], change: Callable[[InboxRecord], InboxRecord | None], now: float
    ) -> list[InboxRecord]:
        changed: list[InboxRecord] = []
        for record in records:
            if record.run_until is not None and record.run_until > now:
                continue
            new = change(record)
            if new is None:
                continue
            finished = None if new.status == "pending" else record.finished_at if new.status == record.status else now
            part = replace(
                record,
                handlers=dict(new.handlers),
                status=new.status,
                due_at=new.due_at,
                lane=new.lane,
                run=None,
                run_until=None,
                finished_at=finished,
            )
            session.write(self._statements.write(part))
            changed.append(part)
        return changed

    def purge(self, before: float, limit: int, /) -> int:
        """
        Empty the payloads of up to *limit* events that were done or discarded before this moment; their ids stay. Returns how many.

        As many rows of the log of deliveries that are older go with them.

        Raises:
            StoreError: The database is away, or refused.
        """

        def work(session: Session) -> int:
            session.write(self._statements.get("purge_deliveries", before=before, limit=limit))
            return session.write(self._statements.get("purge", before=before, limit=limit))

        return self._writes.run(work, "purge payloads")

    def counts(self) -> InboxCounts:
        """
        Return how full the inbox is.

        Raises:
            StoreError: The database is away, or refused.
        """
        [(now, pending, oldest, parked, delayed, running)] = self._database.read(
            self._statements.get("counts", now=time.time()), "count events", often=True
        )
        return InboxCounts(pending=pending, parked=parked, delayed=delayed, running=running, oldest_pending_at=oldest, now=now)

    def log(self, entry: AuditEntry, /) -> None:
        """
        Write an audit entry.

        Raises:
            StoreError: The database is away, or refused.
        """
        self._writes.run(lambda session: session.write(self._entry(entry)), "write an audit entry")

    def _entry(self, entry: AuditEntry) -> Any:
        return self._statements.get(
            "log", at=entry.at, actor=entry.actor, action=entry.action, subject=entry.subject, detail=entry.detail
        )

    def logged(self, after: int, limit: int, /) -> Sequence[tuple[int, AuditEntry]]:
        """
        Return audit entries with their numbers, above *after*, in order.

        Raises:
            StoreError: The database is away, or refused.
        """
        rows = self._database.read(self._statements.get("logged", after=after, limit=limit), "read audit entries")
        return [
            (id_, AuditEntry(at=at, actor=actor, action=action, subject=subject, detail=detail))
            for id_, at, actor, action, subject, detail in rows
        ]

    def delivered(self, id: int, limit: int, /) -> Sequence[Delivery]:
        """
        Return the deliveries of the event with that id, *limit* at most, in the order in which they came. Looks at every one that was not purged.

        Raises:
            StoreError: The database is away, or refused.
        """
        rows = self._database.read(self._statements.get("delivered", id=id, limit=limit), "read deliveries")
        return [Delivery(at=float(at), endpoint=endpoint, outcome=outcome) for at, endpoint, outcome in rows]

    def value(self, name: str, /) -> str | None:
        """
        Return what was kept under *name*.

        Raises:
            StoreError: The database is away, or refused.
        """
        rows = self._database.read(self._statements.get("value", name=name), "read a value", often=True)
        return rows[0][0] if rows else None

    def keep(self, name: str, value: str | None, /) -> None:
        """
        Keep *value* under *name*; ``None`` forgets it.

        Raises:
            StoreError: The database is away, or refused.
        """
        get = self._statements.get
        statement = get("forget", name=name) if value is None else get("keep", name=name, value=value)
        self._writes.run(lambda session: session.write(statement), "keep a value")

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
