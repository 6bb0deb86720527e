"""The inbox's conformance suite rejects stores that break a promise: each store here is wrong in one way that happens."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe._engine.process import ForkSafeLock
from atom_stripe.errors import StoreError
from atom_stripe.protocols import EVENT_STATUSES, Appended, Arrival, HandlerState, InboxRecord, Nothing
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import INBOX_STORE_CHECKS, ConformanceError, FaultyInboxStore, check_inbox_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import InboxStore, Refusal, Step
    from atom_stripe.testing.inbox_conformance import InboxCheck

CHECKS = {check.name: check for check in INBOX_STORE_CHECKS}


class Wrong(MemoryInboxStore):
    """A store some of whose methods are replaced: each gets the right one first. *rows*: another store to share a place with."""

    def __init__(self, rows: MemoryInboxStore | None = None, **methods: Callable[..., Any]) -> None:
        super().__init__(rows)
        for name, method in methods.items():
            setattr(self, name, partial(method, getattr(self, name)))


def rows_of(right: Any) -> Any:
    """The rows of the store that a right method belongs to."""
    return right.__self__._rows


def arriving(**changes: Callable[[Any], Any]) -> Callable[[], InboxStore]:
    """Changes events on their way in."""

    def change(arrival: Arrival | Refusal) -> Any:
        if not isinstance(arrival, Arrival):
            return arrival
        return replace(arrival, **{name: make(getattr(arrival, name)) for name, make in changes.items()})

    return lambda: Wrong(append=lambda right, arrivals: right([change(arrival) for arrival in arrivals]))


def stepping(change: Callable[[Step], Step]) -> Callable[[], InboxStore]:
    """Changes steps on their way in."""

    def advance(right: Any, step: Step, claim_next: float | None = None, **connection: Any) -> Any:
        return right(change(step), claim_next, **connection)

    return lambda: Wrong(advance=advance)


def states(make: Callable[[HandlerState], HandlerState]) -> Callable[[], InboxStore]:
    """Changes the states of handlers on their way in."""
    return stepping(lambda step: replace(step, handlers={name: make(state) for name, state in step.handlers.items()}))


def finding(**reading: Any) -> Callable[[], InboxStore]:
    """Reads the query in its own way."""
    return lambda: Wrong(find=lambda right, query: right(replace(query, **reading)))


def found(change: Callable[[InboxRecord], InboxRecord]) -> Callable[[], InboxStore]:
    """Changes events on their way out."""
    return lambda: Wrong(find=lambda right, query: [change(row) for row in right(query)])


def counting(**changes: Callable[[Any], Any]) -> Callable[[], InboxStore]:
    """Counts in its own way."""

    def counts(right: Any) -> Any:
        result = right()
        return replace(result, **{name: change(getattr(result, name)) for name, change in changes.items()})

    return lambda: Wrong(counts=counts)


def after_append(work: Callable[[Any, Arrival, InboxRecord, Appended], Any]) -> Callable[[], InboxStore]:
    """Does something to the row of each arrival, and says what that returns."""

    def append(right: Any, arrivals: Sequence[Arrival]) -> Any:
        rows = rows_of(right)
        return [
            work(rows, arrival, rows.events[said.id], said) if isinstance(said, Appended) else said
            for arrival in arrivals
            for said in right([arrival])
        ]

    return lambda: Wrong(append=append)


def keep_last(rows: Any, arrival: Arrival, row: InboxRecord, said: Appended) -> Appended:
    rows.put(replace(row, payload=arrival.payload))
    return said


def reopen(rows: Any, _arrival: Arrival, row: InboxRecord, said: Appended) -> Appended:
    if said.outcome == "duplicate" and row.status != "pending":
        rows.put(replace(row, status="pending"))
    return said


def requeue_all(rows: Any, _arrival: Arrival, row: InboxRecord, said: Appended) -> Appended:
    if said.outcome == "requeued":
        rows.put(replace(row, handlers=dict.fromkeys(row.handlers, HandlerState())))
    return said


def requeue_later(rows: Any, _arrival: Arrival, row: InboxRecord, said: Appended) -> Appended:
    if said.outcome == "requeued":
        rows.put(replace(row, due_at=2e10))
    return said


def own_lane(_rows: Any, arrival: Arrival, _row: InboxRecord, said: Appended) -> Appended:
    return Appended(said.outcome, said.id, arrival.lane)


def swallow_parked(right: Any, arrivals: Sequence[Arrival]) -> Any:
    rows = rows_of(right)
    before = dict(rows.events)
    said = right(arrivals)
    for each in said:
        if each and each.outcome == "requeued":
            rows.put(before[each.id])
    return said


def folding(fold: Callable[[Any], Any]) -> Callable[[], InboxStore]:
    """Takes some events for the same."""

    class Folding(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return super().get(fold(key), default)

        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(fold(key), value)

    def make() -> InboxStore:
        store = MemoryInboxStore()
        store._rows.ids = Folding()
        return store

    return make


def all_or_nothing(right: Any, arrivals: Sequence[Arrival]) -> Any:
    said = right(arrivals)
    errors = [each for each in said if isinstance(each, StoreError)]
    return errors[:1] * len(arrivals) if errors else said


def one_by_one_until_error(right: Any, arrivals: Sequence[Arrival]) -> Any:
    said: list[Any] = []
    for arrival in arrivals:
        said += right([arrival])
        if isinstance(said[-1], StoreError):
            raise said[-1]
    return said


def claim_any(right: Any, lane: str, run: str, lease: float) -> Any:
    """Claims the first that nobody has, as ``SKIP LOCKED`` does."""
    rows, now = rows_of(right), time.time()
    for id_ in rows.lanes.get(lane, ()):
        row = rows.events[id_]
        if (row.run_until is None or row.run_until <= now) and (row.due_at is None or row.due_at <= now):
            return rows.put(replace(row, run=run, run_until=now + lease, attempts=row.attempts + 1))
    return right(lane, run, lease)


def claim_last(right: Any, lane: str, run: str, lease: float) -> Any:
    rows, now = rows_of(right), time.time()
    if rows.claims(lane, now) or lane not in rows.lanes:
        return right(lane, run, lease)
    row = rows.events[rows.lanes[lane][-1]]
    return rows.put(replace(row, run=run, run_until=now + lease, attempts=row.attempts + 1))


def claim_at_once(right: Any, lane: str, run: str, lease: float) -> Any:
    rows = rows_of(right)
    for id_ in list(rows.lanes.get(lane, ())):
        rows.put(replace(rows.events[id_], due_at=None))
    return right(lane, run, lease)


def claim_never_again(right: Any, lane: str, run: str, lease: float) -> Any:
    """What a run has is its own for ever."""
    rows = rows_of(right)
    return Nothing(None, time.time()) if lane in rows.claimed else right(lane, run, lease)


def claim_over(right: Any, lane: str, run: str, lease: float) -> Any:
    """A run may claim again what it has."""
    rows = rows_of(right)
    held = rows.claims(lane, time.time())
    return held[0] if held and held[0].run == run else right(lane, run, lease)


def claim_uncounted(right: Any, lane: str, run: str, lease: float) -> Any:
    row = right(lane, run, lease)
    return rows_of(right).put(replace(row, attempts=max(row.attempts - 1, 1))) if isinstance(row, InboxRecord) else row


def claim_unwritten(right: Any, lane: str, run: str, lease: float) -> Any:
    """Counts in the answer only."""
    row = right(lane, run, lease)
    if isinstance(row, InboxRecord):
        rows_of(right).put(replace(row, attempts=0))
    return row


def claim_bare(right: Any, lane: str, run: str, lease: float) -> Any:
    row = right(lane, run, lease)
    return replace(row, payload=None) if isinstance(row, InboxRecord) else row


def nothing_known(right: Any, lane: str, run: str, lease: float) -> Any:
    row = right(lane, run, lease)
    return Nothing(None, row.now) if isinstance(row, Nothing) else row


def other_clock(right: Any, lane: str, run: str, lease: float) -> Any:
    row = right(lane, run, lease)
    return Nothing(row.due_at, row.now - 3600) if isinstance(row, Nothing) else row


def release_all(right: Any, _run: str) -> None:
    rows = rows_of(right)
    for row in list(rows.events.values()):
        rows.put(replace(row, run=None, run_until=None))


def release_uncounted(right: Any, run: str) -> None:
    rows = rows_of(right)
    for row in rows.of(run, time.time()):
        rows.put(replace(row, attempts=row.attempts - 1))
    right(run)


def release_later(right: Any, run: str) -> None:
    """Hands the event back for the time after the lease."""


def extend_all(right: Any, runs: Sequence[str], lease: float) -> None:
    right([*runs, *(row.run for row in rows_of(right).events.values() if row.run)], lease)


def extend_more(right: Any, runs: Sequence[str], lease: float) -> None:
    """Adds to what is left."""
    rows = rows_of(right)
    for run in runs:
        for row in rows.of(run, time.time()):
            rows.put(replace(row, run_until=row.run_until + lease))


def extend_ended(right: Any, runs: Sequence[str], lease: float) -> None:
    rows = rows_of(right)
    for row in list(rows.events.values()):
        if row.run in runs:
            rows.put(replace(row, run_until=time.time() + lease))


def unfenced(rule: Callable[[Step, InboxRecord], bool]) -> Callable[[], InboxStore]:
    """Writes steps whose claim does not hold, if *rule* says so."""

    def advance(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
        rows = rows_of(right)
        row = rows.events.get(step.id)
        if row is not None and rule(step, row):
            rows.put(replace(row, run=step.run, run_until=time.time() + 60))
        return right(step, claim_next, connection=connection)

    return lambda: Wrong(advance=advance)


def still_claimed(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    rows = rows_of(right)
    row = rows.events.get(step.id)
    said = right(step, claim_next, connection=connection)
    if not step.keep and connection is None:
        rows.put(replace(rows.events[step.id], run=row.run, run_until=row.run_until))
    return said


def never_next(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    said = right(step, connection=connection)
    return Nothing(None, time.time()) if claim_next else said


def next_in_new_lane(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    rows = rows_of(right)
    said = right(step, connection=connection)
    return rows.claim(rows.events[step.id].lane, step.run, claim_next, time.time()) if claim_next else said


def next_bare(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    said = right(step, claim_next, connection=connection)
    return replace(said, payload=None) if isinstance(said, InboxRecord) else said


def ignoring_transactions(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    return right(step) if connection is not None else right(step, claim_next)


def forgetting_transactions(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    return None if connection is not None else right(step, claim_next)


def unfinished(right: Any, step: Step, claim_next: float | None = None, *, connection: Any = None) -> Any:
    said = right(step, claim_next, connection=connection)
    rows = rows_of(right)
    rows.put(replace(rows.events[step.id], finished_at=None))
    return said


def change_claimed(right: Any, ids: Sequence[int], change: Any, entry: Any = None) -> Any:
    rows = rows_of(right)
    for id_ in ids:
        if id_ in rows.events:
            rows.put(replace(rows.events[id_], run=None, run_until=None))
    return right(ids, change, entry)


def change_everything(right: Any, ids: Sequence[int], change: Any, entry: Any = None) -> Any:
    rows = rows_of(right)
    changed = right(ids, change, entry)
    return [rows.put(replace(change(row), payload=row.payload)) for row in changed]


def change_one_by_one(right: Any, ids: Sequence[int], change: Any, entry: Any = None) -> Any:
    changed = [row for id_ in ids for row in right([id_], change)]
    if entry is not None:
        rows_of(right).audit.append(entry)
    return changed


def audit_first(right: Any, ids: Sequence[int], change: Any, entry: Any = None) -> Any:
    if entry is not None:
        rows_of(right).audit.append(entry)
    return right(ids, change)


def audit_each(right: Any, ids: Sequence[int], change: Any, entry: Any = None) -> Any:
    if entry is not None:
        rows_of(right).audit.append(entry)
    return right(ids, change, entry)


def purging(*statuses: str, always: bool = False) -> Callable[[], InboxStore]:
    """Purges in its own way."""

    def purge(right: Any, before: float, limit: int) -> int:
        rows = rows_of(right)
        old = [
            row
            for row in rows.events.values()
            if row.status in statuses and row.payload is not None and (always or row.finished_at < before)
        ][:limit]
        for row in old:
            rows.put(replace(row, payload=None))
        return len(old)

    return lambda: Wrong(purge=purge)


def purge_ids(right: Any, before: float, limit: int) -> int:
    """Forgets whom it purged."""
    rows = rows_of(right)
    number: int = right(before, limit)
    for key, id_ in list(rows.ids.items()):
        if rows.events[id_].payload is None:
            del rows.ids[key]
    return number


class AppendGap(MemoryInboxStore):
    """Looks first and stores later, and others store in between. *locked*: others on this very store do not."""

    def __init__(self, rows: MemoryInboxStore | None = None, *, locked: bool = False) -> None:
        super().__init__(rows)
        self._own = ForkSafeLock() if locked else None

    def append(self, arrivals: Sequence[Arrival | Refusal], /) -> Sequence[Appended | StoreError | None]:
        if self._own is None:
            return self._look_and_store(arrivals)
        with self._own:
            return self._look_and_store(arrivals)

    def _look_and_store(self, arrivals: Sequence[Arrival | Refusal]) -> Sequence[Appended | StoreError | None]:
        arrived = [arrival for arrival in arrivals if isinstance(arrival, Arrival)]
        keys = [(arrival.account, arrival.livemode, arrival.event_id) for arrival in arrived]
        new = [key for key in keys if key not in self._rows.ids]
        time.sleep(0.001)
        for key in new:
            with self._rows.lock:
                self._rows.ids.pop(key, None)
        return super().append(arrivals)


def together(
    *,
    claims: Callable[[Any], Any] = dict,
    fits: Callable[[Any], Any] = lambda fits: fits,
    found: Callable[[Any, InboxRecord], Any] = lambda _rows, row: row,
) -> Callable[[], InboxStore]:
    """Changes what is claimed together on its way in, or on its way out."""

    def change(right: Any, steps: Any, claims_: Any, lease: float, fits_: Any) -> Any:
        lost, rows = right(steps, claims(claims_), lease, fits(fits_))
        return lost, {lane: found(rows_of(right), row) if isinstance(row, InboxRecord) else row for lane, row in rows.items()}

    return lambda: Wrong(together=change)


def claiming_all(right: Any, steps: Any, claims: Any, lease: float, _fits: Any) -> Any:
    """Claims whatever can be claimed."""
    lost, _ = right(steps, {}, lease, bool)
    return lost, {lane: right.__self__.claim(lane, run, lease) for lane, run in claims.items()}


def claiming_first(right: Any, steps: Any, claims: Any, lease: float, fits: Any) -> Any:
    """Claims before it writes."""
    found = right([], claims, lease, fits)[1]
    return right(steps, {}, lease, fits)[0], found


def all_steps_or_none(right: Any, steps: Any, claims: Any, lease: float, fits: Any) -> Any:
    """Writes no step if one is lost."""
    now = right.__self__._clock()
    kept = steps if all(rows_of(right).holds(step, now) for step in steps) else []
    return (right(kept, claims, lease, fits)[0] or [step for step in steps if step not in kept]), right([], {}, lease, fits)[1]


class ClaimGap(MemoryInboxStore):
    """Looks first and claims later. *locked*: others on this very store do not come in between."""

    bundles = False

    def __init__(self, rows: MemoryInboxStore | None = None, *, locked: bool = False) -> None:
        super().__init__(rows)
        self._own = ForkSafeLock() if locked else None

    def claim(self, lane: str, run: str, lease: float, /) -> InboxRecord | Nothing:
        if self._own is None:
            return self._look_and_claim(lane, run, lease)
        with self._own:
            return self._look_and_claim(lane, run, lease)

    def _look_and_claim(self, lane: str, run: str, lease: float) -> InboxRecord | Nothing:
        now = self._clock()
        with self._rows.lock:
            ids = self._rows.lanes.get(lane)
            free = None if ids is None or self._rows.claims(lane, now) else self._rows.events[ids[0]]
        if free is None:
            return Nothing(None, now)
        time.sleep(0.0005)
        with self._rows.lock:
            row = replace(free, run=run, run_until=now + lease, attempts=free.attempts + 1)
            return self._rows.put(row)


class Emptying(MemoryInboxStore):
    """Forgets everything when it is closed."""

    def close(self) -> None:
        self._rows.events.clear()


class ClosingOnce(MemoryInboxStore):
    """Cannot be closed twice."""

    closed = False

    def close(self) -> None:
        if self.closed:
            msg = "closed already"
            raise RuntimeError(msg)
        self.closed = True


def same(make: Callable[[], InboxStore]) -> Callable[[], InboxStore]:
    """One store for all that is made."""
    store = make()
    return lambda: store


def shared(make: Callable[[MemoryInboxStore], InboxStore]) -> Callable[[], InboxStore]:
    """Stores on one place."""
    rows = MemoryInboxStore()
    return lambda: make(rows)


def text(value: bytes) -> bytes:
    return value.decode(errors="replace").encode()


def wrong(**methods: Callable[..., Any]) -> Callable[[], InboxStore]:
    return lambda: Wrong(None, **methods)


def foreign_release(right: Any, _run: str) -> None:
    rows = rows_of(right)
    for row in list(rows.events.values()):
        if row.run == "holder":
            rows.put(replace(row, run=None, run_until=None))


# The check that rejects it, what is wrong with it, and how it is made.
BROKEN: list[tuple[str, str, Callable[[], InboxStore]]] = [
    ("keeps_every_field", "times in whole seconds", arriving(received_at=lambda value: float(int(value)))),
    ("keeps_every_field", "None as an empty text", arriving(object_id=lambda value: value or "")),
    ("keeps_every_field", "an empty text as None", arriving(api_version=lambda value: value or None)),
    ("keeps_every_field", "modes as numbers", arriving(livemode=int)),
    ("keeps_every_field", "short columns", arriving(lane=lambda value: value[:100])),
    ("keeps_every_field", "traces of work", found(lambda row: replace(row, due_at=0.0))),
    ("keeps_exact_bytes", "bytes as text", arriving(payload=text)),
    ("keeps_exact_bytes", "an end at NUL", arriving(payload=lambda value: value.split(b"\x00")[0])),
    ("keeps_exact_bytes", "no more than 64 KiB", arriving(payload=lambda value: value[:65_535])),
    ("keeps_exact_bytes", "payloads with everything", finding(payloads=True)),
    ("keeps_exact_bytes", "no payload in a claim", wrong(claim=claim_bare)),
    ("keeps_handler_states", "short errors", states(lambda state: replace(state, error=state.error and state.error[:20]))),
    ("keeps_handler_states", "no error as an empty one", states(lambda state: replace(state, error=state.error or ""))),
    (
        "keeps_handler_states",
        "a status that it does not know",
        states(lambda state: replace(state, status=state.status if state.status != "discarded" else "done")),
    ),
    ("keeps_handler_states", "small counters", states(lambda state: replace(state, attempts=min(state.attempts, 127)))),
    (
        "keeps_handler_states",
        "states are added",
        stepping(lambda step: replace(step, handlers=step.handlers or {"one": HandlerState()})),
    ),
    ("stores_once", "the last delivery", after_append(keep_last)),
    ("stores_once", "done events come again", after_append(reopen)),
    ("stores_once", "the lane of the duplicate", after_append(own_lane)),
    ("tells_events_apart", "ids of any case", folding(lambda key: (*key[:2], key[2].lower()))),
    ("tells_events_apart", "padding", folding(lambda key: (*key[:2], key[2].rstrip()))),
    ("tells_events_apart", "both modes", folding(lambda key: (key[0], None, key[2]))),
    ("tells_events_apart", "all accounts", folding(lambda key: (None, *key[1:]))),
    ("isolates_arrivals", "all or nothing", wrong(append=all_or_nothing)),
    ("isolates_arrivals", "the rest is lost", wrong(append=one_by_one_until_error)),
    (
        "isolates_arrivals",
        "no place for refusals",
        wrong(append=lambda right, arrivals: right([each for each in arrivals if isinstance(each, Arrival)])),
    ),
    ("requeues_parked", "parked events stay", wrong(append=swallow_parked)),
    ("requeues_parked", "done handlers too", after_append(requeue_all)),
    ("requeues_parked", "not at once", after_append(requeue_later)),
    ("keeps_the_audit_log", "the newest first", wrong(logged=lambda right, after, limit: right(after, limit)[::-1])),
    ("keeps_the_audit_log", "no limit", wrong(logged=lambda right, after, _limit: right(after, 10_000))),
    (
        "keeps_the_audit_log",
        "entries once",
        wrong(log=lambda right, entry: None if entry in rows_of(right).audit else right(entry)),
    ),
    ("keeps_the_audit_log", "short details", wrong(log=lambda right, entry: right(replace(entry, detail=entry.detail[:200])))),
    ("keeps_values", "nothing is forgotten", wrong(keep=lambda right, name, value: None if value is None else right(name, value))),
    ("keeps_values", "forgotten as empty", wrong(keep=lambda right, name, value: right(name, value or ""))),
    (
        "keeps_values",
        "one name",
        wrong(keep=lambda right, _name, value: right("one", value), value=lambda right, _name: right("one")),
    ),
    (
        "keeps_values",
        "the first value",
        wrong(keep=lambda right, name, value: rows_of(right).values.setdefault(name, value) if value else right(name, value)),
    ),
    ("counts_up_in_order_of_arrival", "the reverse order", wrong(append=lambda right, arrivals: right(arrivals[::-1])[::-1])),
    (
        "counts_up_in_order_of_arrival",
        "the order of ids",
        wrong(append=lambda right, arrivals: [right([each])[0] for each in sorted(arrivals, key=lambda one: one.event_id)]),
    ),
    (
        "waits_in_order",
        "without what is claimed",
        wrong(waiting=lambda right, after, limit: [each for each in right(after, limit) if each.run_until is None]),
    ),
    (
        "waits_in_order",
        "without what is not due",
        wrong(waiting=lambda right, after, limit: [each for each in right(after, limit) if each.due_at is None]),
    ),
    ("waits_in_order", "the reverse order", wrong(waiting=lambda right, after, limit: right(after, limit)[::-1])),
    ("waits_in_order", "no limit", wrong(waiting=lambda right, after, _limit: right(after, 10_000))),
    ("waits_in_order", "from the id itself on", wrong(waiting=lambda right, after, limit: right(after - 1, limit))),
    ("claims_the_head", "whatever nobody has", wrong(claim=claim_any)),
    ("claims_the_head", "the last one", wrong(claim=claim_last)),
    ("claims_the_head", "no payload", wrong(claim=claim_bare)),
    ("claims_the_head", "twice for one run", wrong(claim=claim_over)),
    ("claims_the_head", "one lane for all", arriving(lane=lambda _lane: "one")),
    ("says_when_to_come_again", "no time", wrong(claim=nothing_known)),
    ("says_when_to_come_again", "another clock", wrong(claim=other_clock)),
    (
        "says_when_to_come_again",
        "leases in milliseconds",
        wrong(claim=lambda right, lane, run, lease: right(lane, run, lease / 1_000)),
    ),
    ("waits_until_due", "at once", wrong(claim=claim_at_once)),
    ("waits_until_due", "others overtake", wrong(claim=claim_any)),
    (
        "waits_until_due",
        "due for ever",
        wrong(change=lambda right, ids, change, entry=None: right(ids, lambda row: replace(change(row), due_at=row.due_at), entry)),
    ),
    ("counts_attempts", "not counted", wrong(claim=claim_uncounted)),
    ("counts_attempts", "not written", wrong(claim=claim_unwritten)),
    ("counts_attempts", "taken back", wrong(release=release_uncounted)),
    ("releases", "not at all", wrong(release=release_later)),
    ("releases", "everything", wrong(release=release_all)),
    ("extends", "not at all", wrong(extend=lambda _right, _runs, _lease: None)),
    ("extends", "everything", wrong(extend=extend_all)),
    ("extends", "adds", wrong(extend=extend_more)),
    ("ends_claims_with_the_lease", "never", wrong(claim=claim_never_again)),
    ("ends_claims_with_the_lease", "not counted", wrong(claim=claim_uncounted)),
    ("ends_claims_with_the_lease", "other events are taken", wrong(claim=claim_last)),
    ("fences_lost_claims", "the lease only", unfenced(lambda step, row: row.run == step.run)),
    ("fences_lost_claims", "no fence", unfenced(lambda _step, _row: True)),
    ("fences_lost_claims", "claims come alive again", wrong(extend=extend_ended)),
    ("fences_lost_claims", "foreign claims are released", wrong(release=foreign_release)),
    ("needs_a_claim", "any run", unfenced(lambda _step, row: row.run is not None)),
    ("needs_a_claim", "no claim", unfenced(lambda _step, row: row.run is None)),
    ("advances", "the claim stays", wrong(advance=still_claimed)),
    ("advances", "finished never", wrong(advance=unfinished)),
    ("advances", "due at once", stepping(lambda step: replace(step, due_at=None))),
    (
        "advances",
        "discarded as done",
        stepping(lambda step: replace(step, status="done" if step.status == "discarded" else step.status)),
    ),
    ("keeps_the_claim", "never kept", stepping(lambda step: replace(step, keep=False))),
    ("claims_next", "never", wrong(advance=never_next)),
    ("claims_next", "no payload", wrong(advance=next_bare)),
    ("changes_lanes", "never", stepping(lambda step: replace(step, lane=None))),
    ("changes_lanes", "the next of the other lane", wrong(advance=next_in_new_lane)),
    ("commits_steps", "forgotten", wrong(advance=forgetting_transactions)),
    ("undoes_transactions", "written at once", wrong(advance=ignoring_transactions)),
    ("bundles_fresh_heads", "under one name", together(claims=lambda claims: dict.fromkeys(claims, "r"))),
    (
        "bundles_fresh_heads",
        "not written",
        together(found=lambda rows, row: replace(rows.put(replace(row, run=None, attempts=0)), run=row.run)),
    ),
    ("bundles_fresh_heads", "no payload", together(found=lambda _rows, row: replace(row, payload=None))),
    ("bundles_nothing_else", "whatever its type", together(fits=lambda _fits: lambda _type: True)),
    ("bundles_nothing_else", "what was claimed before", wrong(together=claiming_all)),
    ("bundles_steps", "the claims first", wrong(together=claiming_first)),
    ("bundles_steps", "nothing is lost", wrong(together=lambda right, *args: ([], right(*args)[1]))),
    ("bundles_steps", "all or nothing", wrong(together=all_steps_or_none)),
    *(
        ("finds_by_every_field", f"every {name}", finding(**{name: None}))
        for name in (
            "status",
            "types",
            "account",
            "livemode",
            "event_id",
            "object_id",
            "lane",
            "handler",
            "received_after",
            "received_before",
        )
    ),
    (
        "finds_by_every_field",
        "no types as every type",
        wrong(find=lambda right, query: right(replace(query, types=query.types or None))),
    ),
    (
        "finds_by_every_field",
        "a moment that is not included",
        wrong(find=lambda right, query: [row for row in right(query) if row.received_at != query.received_after]),
    ),
    ("finds_in_order", "the reverse order", wrong(find=lambda right, query: right(query)[::-1])),
    (
        "finds_in_order",
        "the order of times",
        wrong(find=lambda right, query: sorted(right(query), key=lambda row: row.received_at)),
    ),
    ("finds_in_order", "no limit", finding(limit=10_000)),
    ("finds_in_order", "no after", finding(after=0)),
    ("changes_the_unclaimed", "claimed ones", wrong(change=change_claimed)),
    ("changes_the_unclaimed", "everything", wrong(change=change_everything)),
    ("changes_the_unclaimed", "nothing", wrong(change=lambda right, ids, _change, entry=None: right(ids, lambda row: row, entry))),
    (
        "changes_the_unclaimed",
        "all are returned",
        wrong(change=lambda right, ids, change, entry=None: right(ids, lambda row: change(row) or row, entry)),
    ),
    ("audits_changes", "the entry first", wrong(change=audit_first)),
    ("audits_changes", "an entry for each", wrong(change=audit_each)),
    ("audits_changes", "one by one", wrong(change=change_one_by_one)),
    ("purges_payloads", "parked ones", purging("done", "discarded", "parked")),
    ("purges_payloads", "done ones only", purging("done")),
    ("purges_payloads", "of any age", purging("done", "discarded", always=True)),
    ("purges_payloads", "no limit", wrong(purge=lambda right, before, _limit: right(before, 10_000))),
    ("purges_payloads", "ids too", wrong(purge=purge_ids)),
    ("counts", "no pending ones", counting(pending=lambda _value: 0)),
    ("counts", "parked are pending", wrong(counts=lambda right: replace(right(), pending=right().pending + right().parked))),
    ("counts", "no parked ones", counting(parked=lambda _value: 0)),
    ("counts", "no delayed ones", counting(delayed=lambda _value: 0)),
    ("counts", "no running ones", counting(running=lambda _value: 0)),
    ("counts", "no oldest", counting(oldest_pending_at=lambda _value: None)),
    ("stores_once_among_threads", "a gap", AppendGap),
    ("one_claims_a_lane", "a gap", ClaimGap),
    ("loses_nothing", "a gap", ClaimGap),
]
BROKEN_SHARED: list[tuple[str, str, Callable[[], Callable[[], InboxStore]]]] = [
    ("is_seen_by_others", "a place of its own", lambda: MemoryInboxStore),
    ("stores_once_among_others", "a lock of its own", lambda: shared(lambda rows: AppendGap(rows, locked=True))),
    ("one_claims_a_lane_among_others", "a lock of its own", lambda: shared(lambda rows: ClaimGap(rows, locked=True))),
    ("loses_nothing_among_others", "a lock of its own", lambda: shared(lambda rows: ClaimGap(rows, locked=True))),
    ("outlives_closing", "rows end with the store", lambda: same(Emptying)),
    ("outlives_closing", "closed once only", lambda: same(ClosingOnce)),
]
ALL = [*((name, wrong_, partial(same, make)) for name, wrong_, make in BROKEN), *BROKEN_SHARED]


@pytest.mark.parametrize(("name", "wrong", "make"), ALL, ids=[f"{name}-{wrong}" for name, wrong, _make in ALL])
def test_a_broken_store_is_rejected(name: str, wrong: str, make: Callable[[], Callable[[], InboxStore]]) -> None:
    """The check that stands for a promise rejects a store that breaks it, and says in a sentence how."""
    with pytest.raises(ConformanceError, match=rf"^{name}: \w+.* \w+"):
        CHECKS[name].run(make())


def test_every_check_can_fail() -> None:
    """For each check there is a store above that it rejects."""
    assert {name for name, _wrong, _make in ALL} == set(CHECKS)


@pytest.mark.parametrize("check", INBOX_STORE_CHECKS)
def test_a_faulty_store_without_faults_keeps_every_promise(check: InboxCheck) -> None:
    """The memory store keeps each promise, also behind a faulty store that holds no fault, and on a place that is not empty."""
    rows = MemoryInboxStore()
    for _ in range(2):
        check.run(lambda: FaultyInboxStore(MemoryInboxStore(rows)))


def test_a_lock_of_its_own_is_enough_for_one_store() -> None:
    """A store with a lock that other stores do not see is right as long as there is one: what tells it apart is the shared checks."""
    CHECKS["stores_once_among_threads"].run(same(lambda: AppendGap(locked=True)))
    CHECKS["loses_nothing"].run(same(lambda: ClaimGap(locked=True)))


def test_all_at_once() -> None:
    """``check_inbox_store`` runs every check: it accepts a right store, and rejects a wrong one."""
    rows = MemoryInboxStore()
    check_inbox_store(lambda: rows)
    with pytest.raises(ConformanceError, match=r"^keeps_every_field"):
        check_inbox_store(same(arriving(livemode=int)))


def test_shared_checks_may_be_left_out() -> None:
    """Stores that each have a place of their own pass with ``shared=False`` only."""
    check_inbox_store(MemoryInboxStore, shared=False)
    with pytest.raises(ConformanceError, match=r"^is_seen_by_others"):
        CHECKS["is_seen_by_others"].run(MemoryInboxStore)


def test_what_a_store_raises_is_chained() -> None:
    """A store that raises breaks its promise: the error names the check and the kind of error, and the error itself is its cause."""

    def fail(_right: Any, _query: Any) -> Any:
        raise KeyError

    with pytest.raises(ConformanceError) as caught:
        check_inbox_store(lambda: Wrong(find=fail))
    assert str(caught.value) == "keeps_every_field: the store raised KeyError"
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("check", INBOX_STORE_CHECKS)
def test_checks_are_named(check: InboxCheck, request: pytest.FixtureRequest) -> None:
    """Under pytest each check is a test of its own name, and says its promise in a sentence."""
    assert request.node.name == f"test_checks_are_named[{check.name}]"
    assert check.promise.endswith(".")


def test_statuses_are_all_tried() -> None:
    """What ``advances`` goes through is every status that there is."""
    assert set(EVENT_STATUSES) == {"pending", "done", "parked", "discarded"}
