"""How arrivals get into the tables: a batch in one transaction, and none of it falls with another."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from atom_stripe.errors import StoreError
from atom_stripe.protocols import Appended, Arrival, Refusal
from atom_stripe.stores._inbox_rows import requeued
from atom_stripe.stores._sql import failures
from atom_stripe.stores._sql.inbox_statements import (
    DELIVER_SQLITE,
    LAST_SQLITE,
    PRESENT_SQLITE,
    InboxStatements,
    brought,
    inbox_record,
    keep_sqlite,
    store_sqlite,
)
from atom_stripe.stores._sql.ingest_postgres import present, store_within
from atom_stripe.stores._sql.statements import POSTGRESQL, Statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atom_stripe.protocols import DeliveryOutcome, Wake
    from atom_stripe.stores._sql.sessions import Session

_SIZES = (64, 32, 16, 8, 4, 2, 1)

STORING = "store an event"
_WAKING = "wake the engine, so it stored nothing"
_NO_TABLES = "could not wake the engine, so nothing was stored: it has no tables. Call its upgrade(), or run atom-stripe db upgrade --engine …"

_key = attrgetter("account", "livemode", "event_id")


class _Present(NamedTuple):
    """A row that was there before its arrival."""

    id: int
    lane: str
    status: str


class Ingest:
    """Writes batches."""

    def __init__(self, statements: InboxStatements) -> None:
        self._statements = statements
        self._is_postgres = statements.dialect == POSTGRESQL

    def together(
        self, session: Session, batch: Sequence[Arrival | Refusal], wake: Wake | None
    ) -> list[Appended | StoreError | None]:
        """Write *batch*. Fails if the database does not take one of them."""
        results = self._write(session, batch)
        _tell(wake, session, results)
        return results

    def apart(self, session: Session, batch: Sequence[Arrival | Refusal], wake: Wake | None) -> list[Appended | StoreError | None]:
        """Write of *batch* what the database takes. What it does not take is an error among the results."""
        results: list[Appended | StoreError | None] = [self._tried(session, arrival) for arrival in batch]
        sound: dict[int, Arrival | Refusal] = {}
        for place, arrival in enumerate(batch):
            if (error := results[place]) is None:
                sound[place] = arrival
                continue
            refusal = Refusal(endpoint=arrival.endpoint, reason=type(error).__name__, received_at=arrival.received_at)
            if self._tried(session, refusal) is None:
                sound[place] = refusal
        # Together, because rows are locked in one order, whoever locks them: one by one it would be that of their arrival.
        for place, result in zip(sound, self.together(session, list(sound.values()), wake), strict=True):
            results[place] = results[place] or result
        return results

    def _tried(self, session: Session, arrival: Arrival | Refusal) -> StoreError | None:
        """Return why the database does not take *arrival*, if it does not. Nothing is written, and nothing stays locked."""
        session.write(Statement("SAVEPOINT one", {}))
        failure = None
        try:
            self._write(session, [arrival])
        except Exception as error:
            if not failures.is_failure(error):
                raise
            failure = failures.read(error)
            if failure.retryable or failure.no_table or session.lost():
                raise
        session.write(Statement("ROLLBACK TO SAVEPOINT one", {}))
        session.write(Statement("RELEASE SAVEPOINT one", {}))
        return None if failure is None else failure.error(STORING)

    def _write(self, session: Session, batch: Sequence[Arrival | Refusal]) -> list[Appended | StoreError | None]:
        results: list[Appended | StoreError | None] = [None] * len(batch)
        places = [place for place, arrival in enumerate(batch) if isinstance(arrival, Arrival)]
        arrivals = [arrival for arrival in batch if isinstance(arrival, Arrival)]
        stored = (self._store_postgres if self._is_postgres else self._store_sqlite)(session, arrivals) if arrivals else {}
        again = [number for number in range(len(arrivals)) if number not in stored]
        for number, id_ in stored.items():
            results[places[number]] = Appended("stored", id_, arrivals[number].lane)
        for number, appended in zip(again, self._again(session, [arrivals[number] for number in again]), strict=True):
            results[places[number]] = appended
        for delivery in batch:
            if isinstance(delivery, Refusal):
                self._deliver(session, delivery, "refused", reason=delivery.reason)
        return results

    def _store_postgres(self, session: Session, arrivals: Sequence[Arrival]) -> dict[int, int]:
        """Store what is new, and return its ids by its places."""
        rows = session.read(store_within(arrivals), often=True)
        return {place - 1: id_ for place, id_ in rows}

    def _store_sqlite(self, session: Session, arrivals: Sequence[Arrival]) -> dict[int, int]:
        connection = session.connection
        [(last,)] = connection.execute(LAST_SQLITE).fetchall()
        written = 0
        for start, end in _pieces(len(arrivals)):
            values = [value for arrival in arrivals[start:end] for value in brought(arrival)]
            written += connection.execute(store_sqlite(end - start), values).rowcount
        if not written:
            return {}
        # Nobody else writes meanwhile, so the ids are next to each other.
        all_ids = dict(enumerate(range(last + 1, last + 1 + written)))
        stored = all_ids if written == len(arrivals) else self._new(session, arrivals, last)
        kept = list(stored.items())
        for start, end in _pieces(len(kept)):
            values = [value for place, id_ in kept[start:end] for value in (id_, arrivals[place].payload)]
            connection.execute(keep_sqlite(end - start), values)
        connection.execute(DELIVER_SQLITE, (last + 1, last + written))
        return stored

    def _new(self, session: Session, arrivals: Sequence[Arrival], last: int) -> dict[int, int]:
        """Return the ids above *last* by their places; the second of two that are the same is not new."""
        stored: dict[int, int] = {}
        seen: set[int] = set()
        for place, row in enumerate(self._present(session, arrivals)):
            if row.id > last and row.id not in seen:
                seen.add(row.id)
                stored[place] = row.id
        return stored

    def _again(self, session: Session, arrivals: Sequence[Arrival]) -> list[Appended]:
        """Deal with *arrivals* that were stored before."""
        if not arrivals:
            return []
        rows = self._present(session, arrivals)
        parked = sorted({row.id for row in rows if row.status == "parked"})
        requeued = self._requeue(session, parked) if parked else set[int]()
        found: list[Appended] = []
        for row, arrival in zip(rows, arrivals, strict=True):
            outcome: DeliveryOutcome = "requeued" if row.id in requeued else "duplicate"
            requeued.discard(row.id)
            self._deliver(session, arrival, outcome, event=row.id)
            found.append(Appended(outcome, row.id, row.lane))
        return found

    def _present(self, session: Session, arrivals: Sequence[Arrival]) -> list[_Present]:
        if self._is_postgres:
            found = {place: _Present(*row) for place, *row in session.read(present(arrivals), often=True)}
            return [found[place] for place in range(1, len(arrivals) + 1)]
        return [_Present(*session.connection.execute(PRESENT_SQLITE, _key(arrival)).fetchone()) for arrival in arrivals]

    def _requeue(self, session: Session, ids: Sequence[int]) -> set[int]:
        """Let the parked handlers of *ids* be tried again; returns those of *ids* that had some."""
        done: set[int] = set()
        for row in session.read(self._statements.records(ids)):
            again = requeued(inbox_record(row))
            if again is not None:
                session.write(self._statements.write(again))
                done.add(again.id)
        return done

    def _deliver(
        self,
        session: Session,
        arrival: Arrival | Refusal,
        outcome: DeliveryOutcome,
        *,
        event: int | None = None,
        reason: str | None = None,
    ) -> None:
        values = {"at": arrival.received_at, "endpoint": arrival.endpoint, "outcome": outcome, "reason": reason, "event": event}
        session.write(self._statements.get("deliver", **values))


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    """Cut *count* rows into pieces of few sizes, so that few statements have to be kept prepared."""
    start = 0
    for size in _SIZES:
        while count - start >= size:
            yield start, start + size
            start += size


def _tell(wake: Wake | None, session: Session, results: Sequence[Appended | StoreError | None]) -> None:
    """Wake whoever drains the lanes in which there is something new to do."""
    if wake is None:
        return
    found = [result for result in results if isinstance(result, Appended) and result.outcome != "duplicate"]
    lanes = list(dict.fromkeys(result.lane for result in found))
    if not lanes:
        return
    try:
        wake(session.connection, lanes)
    except Exception as error:
        if not failures.is_failure(error):
            raise
        failure = failures.read(error)
        failed = StoreError(_NO_TABLES) if failure.no_table else failure.error(_WAKING)
    else:
        return
    raise failed
