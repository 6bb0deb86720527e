"""An inbox in memory, for tests and demos: what it holds ends with the process."""

from __future__ import annotations

import time
from bisect import bisect_right
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import Appended, Delivery, InboxCounts, Refusal, Waiting
from atom_stripe.protocols.engines import NO_ENGINE
from atom_stripe.stores._inbox_rows import (
    InboxRows,
    LoggedDelivery,
    copied,
    finished_at,
    is_held,
    is_purgeable,
    is_text,
    matches,
    new_record,
    requeued,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from atom_stripe.protocols import Arrival, AuditEntry, DeliveryOutcome, InboxQuery, InboxRecord, Nothing, Step, Wake

_ENDED = "the transaction has ended"


class MemoryConnection:
    """What ``transaction()`` of a ``MemoryInboxStore`` yields. What is appended becomes part of ``effects`` of the store when it commits."""

    def __init__(self) -> None:
        self._effects: list[Any] = []
        self._steps: list[Step] = []
        self._open = True

    def append(self, effect: Any, /) -> None:
        """Note an effect, which is gone if the transaction is undone."""
        self._demand_open()
        self._effects.append(effect)

    def add(self, step: Step) -> None:
        """Note a step, for the store."""
        self._demand_open()
        self._steps.append(step)

    def end(self) -> tuple[Sequence[Any], Sequence[Step]]:
        """Take what was noted, for the store; nothing more can be."""
        self._open = False
        return tuple(self._effects), tuple(self._steps)

    @property
    def steps(self) -> Sequence[Step]:
        """The steps so far."""
        return self._steps

    def _demand_open(self) -> None:
        if not self._open:
            raise StoreError(_ENDED, retryable=False)


class MemoryInboxStore:
    """
    An ``InboxStore`` in memory. Not for production: a restart loses every event, and other processes see none.

    Any number of threads may call. A forked child goes on with a copy. *store*: another store to share the rows of, as two processes share a
    database. *clock*: seconds since 1970, by which claims end and events are due.
    """

    def __init__(self, store: MemoryInboxStore | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._rows: InboxRows = InboxRows() if store is None else store._rows  # noqa: SLF001 - another of this class
        self._clock: Callable[[], float] = clock if store is None else store._clock  # noqa: SLF001 - another of this class

    @property
    def wakes(self) -> bool:
        """Whether an engine can tell other processes of what is stored: no."""
        return False

    @property
    def bundles(self) -> bool:
        """Whether several events share a transaction: yes."""
        return True

    def append(self, arrivals: Sequence[Arrival | Refusal], wake: Wake | None = None, /) -> Sequence[Appended | StoreError | None]:
        """
        Store *arrivals* as ``InboxStore.append`` says. Text that has no UTF-8 form is refused, as databases do.

        Raises:
            ConfigurationError: There is a *wake*: nobody else could see what is in memory.
        """
        if wake is not None:
            raise ConfigurationError(NO_ENGINE)
        with self._rows.lock:
            return [self._append(arrival) for arrival in arrivals]

    def _append(self, arrival: Arrival | Refusal) -> Appended | StoreError | None:
        rows = self._rows
        if isinstance(arrival, Refusal):
            rows.deliveries.append(LoggedDelivery(arrival.received_at, arrival.endpoint, "refused", None, arrival.reason))
            return None
        if not is_text(arrival):
            return StoreError("the event holds text that has no UTF-8 form", retryable=False)
        key = (arrival.account, arrival.livemode, arrival.event_id)
        id_ = rows.ids.get(key)
        outcome: DeliveryOutcome = "stored"
        if id_ is None:
            id_ = rows.ids[key] = len(rows.events) + 1
            row = rows.put(new_record(id_, arrival))
        else:
            row, outcome = rows.events[id_], "duplicate"
            if (again := requeued(row)) is not None:
                row, outcome = rows.put(again), "requeued"
        rows.deliveries.append(LoggedDelivery(arrival.received_at, arrival.endpoint, outcome, id_, ""))
        return Appended(outcome, id_, row.lane)

    def waiting(self, after: int, limit: int, /) -> Sequence[Waiting]:
        """Return the pending events with ids above *after*, in the order of their ids."""
        with self._rows.lock:
            ids = self._rows.pending
            start = bisect_right(ids, after)
            rows = [self._rows.events[id_] for id_ in ids[start : start + limit]]
        return [Waiting(row.id, row.lane, row.due_at, row.run_until) for row in rows]

    def claim(self, lane: str, run: str, lease: float, /) -> InboxRecord | Nothing:
        """Claim the head of *lane* as ``InboxStore.claim`` says."""
        with self._rows.lock:
            return self._rows.claim(lane, run, lease, self._clock())

    def advance(self, step: Step, claim_next: float | None = None, /, *, connection: Any = None) -> InboxRecord | Nothing | None:
        """
        Write *step* as ``InboxStore.advance`` says; with *connection* when its transaction commits.

        Raises:
            ClaimLostError: Another run has taken over. Nothing was written.
            StoreError: The transaction has ended.
        """
        rows = self._rows
        with rows.lock:
            now = self._clock()
            if connection is not None:
                # Tried now, so that the handler learns of it; and again at the commit, with what the heartbeat wrote meanwhile.
                rows.steps([*connection.steps, step], now)
                connection.add(step)
                return None
            before = rows.events.get(step.id)
            rows.put(rows.step(step, before, now))
            if claim_next is None or before is None:
                return None
            return rows.claim(before.lane, step.run, claim_next, now)

    def together(
        self, steps: Sequence[Step], claims: Mapping[str, str], lease: float, fits: Callable[[str], bool], /
    ) -> tuple[Sequence[Step], Mapping[str, InboxRecord | Nothing | None]]:
        """Write *steps* and claim fresh heads as ``BundlingInboxStore.together`` says."""
        rows = self._rows
        with rows.lock:
            now = self._clock()
            lost = [step for step in steps if not rows.holds(step, now)]
            for step in steps:
                if step not in lost:
                    rows.put(rows.step(step, rows.events[step.id], now))
            return lost, {lane: rows.claim_fresh(lane, run, lease, now, fits) for lane, run in claims.items()}

    def extend(self, runs: Sequence[str], lease: float, /) -> None:
        """Let the claims of *runs* last *lease* seconds from now on, those that still hold."""
        with self._rows.lock:
            now = self._clock()
            for run in runs:
                for row in self._rows.of(run, now):
                    self._rows.put(replace(row, run_until=now + lease))

    def release(self, run: str, /) -> None:
        """End the claim of *run*, if it still holds."""
        with self._rows.lock:
            for row in self._rows.of(run, self._clock()):
                self._rows.put(replace(row, run=None, run_until=None))

    @contextmanager
    def transaction(self) -> Generator[MemoryConnection]:
        """
        Open a transaction: its effects and steps are seen by nobody before it commits, and never if an exception ends it.

        Raises:
            ClaimLostError: A claim ended before the transaction did. Nothing was written.
        """
        connection = MemoryConnection()
        try:
            yield connection
        except BaseException:
            connection.end()
            raise
        effects, steps = connection.end()
        with self._rows.lock:
            for row in self._rows.steps(steps, self._clock()).values():
                self._rows.put(row)
            self._rows.effects += effects

    def find(self, query: InboxQuery, /) -> Sequence[InboxRecord]:
        """Return the events that *query* asks for. Looks at every one."""
        with self._rows.lock:
            found = list(islice((row for row in self._rows.events.values() if matches(query, row)), query.limit))
        return [copied(row, payload=query.payloads) for row in found]

    def change(
        self, ids: Sequence[int], change: Callable[[InboxRecord], InboxRecord | None], entry: AuditEntry | None = None, /
    ) -> Sequence[InboxRecord]:
        """Change events as ``InboxStore.change`` says. *change* must not call the store."""
        rows = self._rows
        with rows.lock:
            now = self._clock()
            changed: list[InboxRecord] = []
            for row in (rows.events[id_] for id_ in sorted(set(ids)) if id_ in rows.events):
                new = None if is_held(row, now) else change(copied(row))
                if new is not None:
                    part = {"handlers": dict(new.handlers), "status": new.status, "due_at": new.due_at, "lane": new.lane}
                    finished = finished_at(row, new.status, now)
                    changed.append(replace(row, **part, run=None, run_until=None, finished_at=finished))  # type: ignore[arg-type]
            # Written together: a change that raises leaves nothing behind.
            for row in changed:
                rows.put(row)
            if entry is not None:
                rows.audit.append(entry)
        return [copied(row) for row in changed]

    def purge(self, before: float, limit: int, /) -> int:
        """Empty payloads as ``InboxStore.purge`` says, the oldest ids first. Looks at every event."""
        with self._rows.lock:
            old = (row for row in self._rows.events.values() if is_purgeable(row, before))
            purged = list(islice(old, limit))
            for row in purged:
                self._rows.put(replace(row, payload=None))
        return len(purged)

    def counts(self) -> InboxCounts:
        """Return how full the inbox is."""
        with self._rows.lock:
            now = self._clock()
            pending = [self._rows.events[id_] for id_ in self._rows.pending]
            parked = sum(row.status == "parked" for row in self._rows.events.values())
            running = sum(len(self._rows.claims(lane, now)) for lane in self._rows.claimed)
        return InboxCounts(
            pending=len(pending),
            parked=parked,
            delayed=sum(row.due_at is not None and row.due_at > now for row in pending),
            running=running,
            oldest_pending_at=min((row.received_at for row in pending), default=None),
            now=now,
        )

    def log(self, entry: AuditEntry, /) -> None:
        """Write an audit entry."""
        with self._rows.lock:
            self._rows.audit.append(entry)

    def logged(self, after: int, limit: int, /) -> Sequence[tuple[int, AuditEntry]]:
        """Return audit entries with their numbers, above *after*, in order."""
        with self._rows.lock:
            start = max(after, 0)
            return list(enumerate(self._rows.audit[start : start + limit], start + 1))

    def delivered(self, id: int, limit: int, /) -> Sequence[Delivery]:
        """Return the deliveries of the event with that id, *limit* at most, in the order in which they came."""
        with self._rows.lock:
            found = [one for one in self._rows.deliveries if one.event == id]
        return [Delivery(at=one.at, endpoint=one.endpoint, outcome=one.outcome) for one in found[:limit]]

    def value(self, name: str, /) -> str | None:
        """Return what was kept under *name*."""
        with self._rows.lock:
            return self._rows.values.get(name)

    def keep(self, name: str, value: str | None, /) -> None:
        """Keep *value* under *name*; ``None`` forgets it."""
        with self._rows.lock:
            if value is None:
                self._rows.values.pop(name, None)
            else:
                self._rows.values[name] = value

    @property
    def effects(self) -> Sequence[Any]:
        """What committed transactions have appended, in the order of their commits."""
        with self._rows.lock:
            return tuple(self._rows.effects)

    @property
    def deliveries(self) -> Sequence[LoggedDelivery]:
        """The log of deliveries, in the order in which they came."""
        with self._rows.lock:
            return tuple(self._rows.deliveries)

    def __repr__(self) -> str:
        """Show how much is stored, and nothing of it."""
        return f"{type(self).__name__}({len(self._rows.events)} events, {len(self._rows.pending)} pending)"
