"""An inbox's store against a model of it: whatever is done to it in whatever order, nothing is lost, doubled, out of order or done by two."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from atom_stripe.errors import ClaimLostError
from atom_stripe.protocols import Appended, Arrival, AuditEntry, HandlerState, InboxQuery, InboxRecord, Nothing, Refusal, Step
from atom_stripe.stores._sql.inbox import SqlInboxStore
from atom_stripe.stores._sql.migrations import upgrade
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from tests.databases import new_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.protocols import EventStatus, InboxStore

LANES = ("in_1", "in_2", "sub_1")
LONG = 1e6
LEASES = st.sampled_from([LONG, LONG * 2])
STATUSES = st.sampled_from(["done", "done", "pending", "parked", "discarded"])
# An event, by what tells it apart: a number, the account and the mode. Few of each, so that they meet.
KEYS = st.tuples(st.integers(0, 9), st.sampled_from(["", "acct_1"]), st.booleans())


@dataclass(slots=True)
class Modelled:
    """What an event must be."""

    id: int
    lane: str
    payload: bytes | None
    status: EventStatus = "pending"
    handlers: dict[str, HandlerState] = field(default_factory=dict)
    due_at: float | None = None
    attempts: int = 0
    run: str | None = None
    run_until: float | None = None

    def held(self, now: float) -> bool:
        return self.run_until is not None and self.run_until > now


def arrival(key: tuple[int, str, bool], delivery: int) -> Arrival:
    number, account, livemode = key
    return Arrival(
        event_id=f"evt_{number}",
        type="invoice.paid",
        account=account,
        livemode=livemode,
        lane=LANES[number % len(LANES)],
        payload=b"\x00%d" % delivery,
        endpoint="default",
        received_at=float(delivery),
    )


class InboxMachine(RuleBasedStateMachine):
    """Drives a store. *make_store* is given a clock; a store that has its own does not use it, and then no lease ends."""

    make_store: ClassVar[Callable[[Callable[[], float]], Any]]
    has_own_clock: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.moment = 1_000.0
        self.store: InboxStore = type(self).make_store(lambda: self.moment)
        self.events: dict[tuple[int, str, bool], Modelled] = {}
        # Everything that was ever claimed: most of it has been lost or ended since.
        self.claims: list[InboxRecord] = []
        self.runs = 0
        self.deliveries = 0
        self.audited = 0

    def teardown(self) -> None:
        """Nothing is lost: all that is pending can be handled to the end, lane by lane, in the order of arrival."""
        try:
            self.drain()
        finally:
            close = getattr(self.store, "close", None)
            if close is not None:
                close()

    def drain(self) -> None:
        for event in self.events.values():
            if event.run is not None:
                self.store.release(event.run)
        pending = sorted((event.lane, event.id) for event in self.events.values() if event.status == "pending")
        self.store.change([id_ for _lane, id_ in pending], lambda row: replace(row, due_at=None))
        handled: list[tuple[str, int]] = []
        for lane in sorted({lane for lane, _id in pending}):
            found: Any = self.store.claim(lane, "last", LONG)
            while isinstance(found, InboxRecord):
                handled.append((lane, found.id))
                found = self.store.advance(Step(id=found.id, run="last", handlers={}, status="done"), LONG)
        assert handled == pending

    def now(self) -> float:
        return self.store.counts().now if self.has_own_clock else self.moment

    def by_id(self, id_: int) -> Modelled:
        return next(event for event in self.events.values() if event.id == id_)

    def holders(self) -> list[InboxRecord]:
        """The claims that hold."""
        now = self.now()
        return [row for row in self.claims if (event := self.by_id(row.id)).run == row.run and event.held(now)]

    def lost(self) -> list[InboxRecord]:
        """The claims that do not hold any more."""
        holders = self.holders()
        return [row for row in self.claims if row not in holders]

    def expect_claim(self, lane: str, run: str, lease: float, found: object) -> None:
        """Compare what a claim gave with what it must give, and note it."""
        now = self.now()
        held = [event for event in self.events.values() if event.lane == lane and event.held(now)]
        waiting = sorted(
            (event for event in self.events.values() if event.lane == lane and event.status == "pending"),
            key=lambda event: event.id,
        )
        if held or not waiting or (waiting[0].due_at or 0.0) > now:
            assert isinstance(found, Nothing)
            due_at = held[0].run_until if held else waiting[0].due_at if waiting else None
            assert found.due_at == (due_at if due_at is None else pytest.approx(due_at, abs=1e-3))
            return
        head = waiting[0]
        assert isinstance(found, InboxRecord)
        assert (found.id, found.run, found.payload) == (head.id, run, head.payload)
        head.attempts += 1
        head.run, head.run_until = run, found.run_until
        assert found.run_until == pytest.approx(now + lease, abs=60.0)
        self.claims.append(found)

    def expect_step(self, step: Step) -> None:
        event = self.by_id(step.id)
        event.status, event.handlers, event.due_at = step.status, dict(step.handlers), step.due_at
        event.lane = step.lane or event.lane
        if not step.keep:
            event.run = event.run_until = None

    def make_step(self, data: Any, row: InboxRecord) -> Step:
        status = data.draw(STATUSES)
        handlers = {"h": HandlerState(status=status, attempts=row.attempts, error=None if status == "done" else "E")}
        aside = f"{row.lane}~{row.id}" if data.draw(st.integers(0, 5)) == 0 else None
        due_at = self.now() + data.draw(st.sampled_from([-5.0, LONG])) if status == "pending" and data.draw(st.booleans()) else None
        keep = status == "pending" and data.draw(st.booleans())
        return Step(id=row.id, run=row.run or "", handlers=handlers, status=status, due_at=due_at, lane=aside, keep=keep)

    @initialize(keys=st.lists(KEYS, min_size=3, max_size=8))
    def begin(self, keys: list[tuple[int, str, bool]]) -> None:
        self.append(keys)

    @rule(keys=st.lists(KEYS, max_size=5))
    def append(self, keys: list[tuple[int, str, bool]]) -> None:
        """Deliver a batch, with a refusal, and with whatever of it came before."""
        batch: list[Arrival | Refusal] = [Refusal(endpoint="default", reason="Wrong", received_at=1.0)]
        for key in keys:
            self.deliveries += 1
            batch.append(arrival(key, self.deliveries))
        said = self.store.append(batch)
        assert len(said) == len(batch)
        assert said[0] is None
        for key, sent, each in zip(keys, batch[1:], said[1:], strict=True):
            assert isinstance(each, Appended)
            assert isinstance(sent, Arrival)
            event = self.events.get(key)
            if event is None:
                assert each.outcome == "stored"
                assert each.id > max((other.id for other in self.events.values()), default=0)
                event = self.events[key] = Modelled(each.id, sent.lane, sent.payload)
            elif event.status == "parked":
                assert each.outcome == "requeued"
                event.status, event.due_at = "pending", None
                rows = self.store.find(InboxQuery(after=event.id - 1, limit=1))
                assert {state.status for state in rows[0].handlers.values()} <= {"pending", "done", "discarded"}
                event.handlers = dict(rows[0].handlers)
            else:
                assert each.outcome == "duplicate"
            assert (each.id, each.lane) == (event.id, event.lane)

    @rule(lane=st.sampled_from(LANES), lease=LEASES)
    def claim(self, lane: str, lease: float) -> None:
        self.runs += 1
        self.expect_claim(lane, f"r{self.runs}", lease, self.store.claim(lane, f"r{self.runs}", lease))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), lease=LEASES)
    def claim_where_one_is(self, data: Any, lease: float) -> None:
        """Claim in a lane that some event is in: those that were set aside are in lanes of their own."""
        self.claim(data.draw(st.sampled_from(sorted({event.lane for event in self.events.values()}))), lease)

    @precondition(lambda self: self.events and getattr(self.store, "bundles", False))
    @rule(data=st.data(), lease=LEASES)
    def bundle(self, data: Any, lease: float) -> None:
        """Write the steps of several claims, those that were lost among them, and claim the fresh heads of several lanes."""
        claims = list({row.id: row for row in self.claims}.values())
        rows = data.draw(st.lists(st.sampled_from(claims), unique_by=lambda row: row.id, max_size=4)) if claims else []
        holders = self.holders()
        steps = [self.make_step(data, row) for row in rows]
        names = sorted({*LANES, *(event.lane for event in self.events.values())})
        lanes = data.draw(st.lists(st.sampled_from(names), unique=True))
        self.runs += 1
        store: Any = self.store
        lost, found = store.together(steps, {lane: f"r{self.runs}.{lane}" for lane in lanes}, lease, lambda _type: True)
        assert list(lost) == [step for step, row in zip(steps, rows, strict=True) if row not in holders]
        for step in steps:
            if step not in lost:
                self.expect_step(step)
        assert set(found) == set(lanes)
        for lane in lanes:
            if found[lane] is not None:
                self.expect_claim(lane, f"r{self.runs}.{lane}", lease, found[lane])
                assert not isinstance(found[lane], InboxRecord) or found[lane].attempts == 1
                continue
            waiting = [event for event in self.events.values() if event.lane == lane and event.status == "pending"]
            head = min(waiting, key=lambda event: event.id)
            assert not any(event.held(self.now()) for event in self.events.values() if event.lane == lane)
            assert (head.due_at or 0.0) <= self.now()
            assert head.attempts or head.handlers or head.due_at is not None

    @precondition(lambda self: self.holders())
    @rule(data=st.data(), next_lease=st.none() | LEASES)
    def advance(self, data: Any, next_lease: float | None) -> None:
        row = data.draw(st.sampled_from(self.holders()))
        step, lane = self.make_step(data, row), self.by_id(row.id).lane
        found = self.store.advance(step, next_lease)
        self.expect_step(step)
        if next_lease is None:
            assert found is None
        else:
            self.expect_claim(lane, step.run, next_lease, found)

    @precondition(lambda self: self.lost())
    @rule(data=st.data(), next_lease=st.none() | LEASES)
    def advance_what_was_lost(self, data: Any, next_lease: float | None) -> None:
        step = self.make_step(data, data.draw(st.sampled_from(self.lost())))
        with pytest.raises(ClaimLostError):
            self.store.advance(step, next_lease)

    @precondition(lambda self: self.holders())
    @rule(data=st.data(), commits=st.booleans(), spoiled=st.booleans())
    def transact(self, data: Any, commits: bool, spoiled: bool) -> None:
        """Write the steps of several claims together, or none: one of them may have been lost."""
        rows = data.draw(st.lists(st.sampled_from(self.holders()), min_size=1, max_size=3, unique_by=lambda row: row.id))
        steps = [self.make_step(data, row) for row in rows]
        lost = self.lost() if spoiled else []

        def work() -> None:
            with self.store.transaction() as connection:
                for step in [*steps, *(self.make_step(data, row) for row in lost[:1])]:
                    assert self.store.advance(step, LONG, connection=connection) is None
                if not commits:
                    raise ZeroDivisionError

        if lost or not commits:
            with pytest.raises((ClaimLostError, ZeroDivisionError)):
                work()
        else:
            work()
            for step in steps:
                self.expect_step(step)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        row = data.draw(st.sampled_from(self.claims))
        for event in self.events.values():
            if event.run == row.run and event.held(self.now()):
                event.run = event.run_until = None
        self.store.release(row.run or "")

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lease=LEASES)
    def extend(self, data: Any, lease: float) -> None:
        runs = {row.run or "" for row in data.draw(st.lists(st.sampled_from(self.claims), max_size=3))}
        now = self.now()
        self.store.extend(sorted(runs), lease)
        for event in self.events.values():
            if event.run in runs and event.held(now):
                until = self.store.find(InboxQuery(after=event.id - 1, limit=1))[0].run_until
                assert until == pytest.approx(now + lease, abs=60.0)
                event.run_until = until

    @precondition(lambda self: not self.has_own_clock)
    @rule(seconds=st.sampled_from([1.0, LONG, LONG * 1.5]))
    def pass_time(self, seconds: float) -> None:
        """Leases end, and events fall due."""
        self.moment += seconds

    @precondition(lambda self: self.events)
    @rule(data=st.data(), status=st.sampled_from(["pending", "discarded", "parked"]))
    def change(self, data: Any, status: EventStatus) -> None:
        """Replay, discard or park some, as an operator does; what is claimed stays."""
        ids = data.draw(st.lists(st.sampled_from(sorted(event.id for event in self.events.values())), max_size=4, unique=True))
        entry = AuditEntry(at=1.0, actor="somebody", action=status, subject=str(ids))
        handlers = {"h": HandlerState(status=status)}
        changed = self.store.change(ids, lambda row: replace(row, status=status, due_at=None, handlers=handlers), entry)
        self.audited += 1
        now = self.now()
        free = [event for event in self.events.values() if event.id in ids and not event.held(now)]
        assert sorted(row.id for row in changed) == sorted(event.id for event in free)
        for event in free:
            event.status, event.due_at, event.handlers = status, None, handlers
            event.run = event.run_until = None

    @rule(limit=st.integers(1, 5))
    def purge(self, limit: int) -> None:
        finished = [event for event in self.events.values() if event.status in {"done", "discarded"} and event.payload is not None]
        assert self.store.purge(self.now() + 60.0, limit) == min(limit, len(finished))
        for event in finished:
            event.payload = self.store.find(InboxQuery(after=event.id - 1, limit=1, payloads=True))[0].payload
        assert sum(event.payload is None for event in finished) == min(limit, len(finished))

    @invariant()
    def every_event_is_there_once(self) -> None:
        """Every event that was delivered is there, once, with its bytes, as the model says."""
        found = self.store.find(InboxQuery(limit=1_000, payloads=True))
        shown = [(row.id, row.lane, row.payload, row.status, dict(row.handlers), row.attempts) for row in found]
        events = sorted(self.events.values(), key=lambda event: event.id)
        assert shown == [(one.id, one.lane, one.payload, one.status, one.handlers, one.attempts) for one in events]

    @invariant()
    def one_of_a_lane_is_claimed(self) -> None:
        """No two claims hold in one lane, and those that hold are those of the model."""
        now = self.now()
        found = [row for row in self.store.find(InboxQuery(limit=1_000)) if row.run_until is not None and row.run_until > now]
        assert len({row.lane for row in found}) == len(found)
        assert {(row.id, row.run) for row in found} == {(one.id, one.run) for one in self.events.values() if one.held(now)}

    @invariant()
    def schedulers_see_what_waits(self) -> None:
        """``waiting`` and ``counts`` agree with the model, and the audit log has every change."""
        events = sorted(self.events.values(), key=lambda event: event.id)
        pending = [event for event in events if event.status == "pending"]
        assert [(each.id, each.lane) for each in self.store.waiting(0, 1_000)] == [(one.id, one.lane) for one in pending]
        counts, now = self.store.counts(), self.now()
        assert (counts.pending, counts.parked) == (len(pending), sum(event.status == "parked" for event in events))
        assert counts.delayed == sum((event.due_at or 0.0) > now for event in pending)
        assert counts.running == sum(event.held(now) for event in events)
        assert len(self.store.logged(0, 10_000)) == self.audited


class MemoryMachine(InboxMachine):
    make_store = staticmethod(lambda clock: MemoryInboxStore(clock=clock))


class LosingMachine(InboxMachine):
    """A machine on a store that loses what comes twice after it was done, to show that the model sees it."""

    class _Losing(MemoryInboxStore):
        def purge(self, before: float, limit: int, /) -> int:
            purged = super().purge(before, limit)
            self._rows.ids = {key: id_ for key, id_ in self._rows.ids.items() if self._rows.events[id_].payload is not None}
            return purged

    make_store = staticmethod(lambda clock: LosingMachine._Losing(clock=clock))


class SqliteMachine(InboxMachine):
    """On SQLite, whose clock is that of the machine: here leases end only by ``release`` and steps."""

    has_own_clock = True

    @staticmethod
    def make_store(_clock: Callable[[], float]) -> Closing:
        databases = ExitStack()
        url = databases.enter_context(new_sqlite())
        upgrade(url)
        return Closing(SqlInboxStore.from_url(url), databases)


class Closing:
    """A store that takes its database with it when it is closed."""

    def __init__(self, store: SqlInboxStore, databases: ExitStack) -> None:
        self._store, self._databases = store, databases

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def close(self) -> None:
        self._store.close()
        self._databases.close()


def drive(machine: type[InboxMachine], examples: int, *phases: Phase) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=phases or tuple(Phase),
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )


def test_the_store_in_memory_agrees_with_the_model() -> None:
    """Whatever is done to the inbox in memory, in whatever order, it is what the model says after each step."""
    drive(MemoryMachine, 60)


def test_the_store_on_sqlite_agrees_with_the_model() -> None:
    """Whatever is done to the inbox on SQLite, in whatever order, it is what the model says after each step."""
    drive(SqliteMachine, 8)


def test_the_model_sees_what_is_wrong() -> None:
    """A store that forgets the ids of what it purged is found out."""
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        drive(LosingMachine, 400, Phase.generate)
