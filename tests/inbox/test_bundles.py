"""Fresh events that one thread claims, handles and finishes together: what they share is a transaction, and nothing else."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atom_stripe._engine.inbox import bundles
from atom_stripe._engine.inbox.pace import Pace
from atom_stripe._engine.inbox.scheduler import Scheduler
from atom_stripe.errors import StoreError
from atom_stripe.inbox import HandlerRetry
from atom_stripe.protocols import HandlerState, InboxRecord
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from atom_stripe.testing import FaultyInboxStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNT = 12
NOT_BEGUN = {"inbox": HandlerState(status="done")}


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, as many events as there are make a bundle."""
    monkeypatch.setattr(Pace, "most", 50)
    monkeypatch.setattr(Pace, "quick", True)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, nothing is handed to other threads."""
    monkeypatch.setattr(bundles, "LONGEST", 60.0)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryInboxStore()
        return
    url = f"sqlite:///{tmp_path / 'inbox.db'}"
    upgrade(url)
    with SqlInboxStore.from_url(url) as made:
        yield made


class Bundle:
    """A world in which events number 1, 2, … are handled together, each of an object of its own: event 0 keeps the thread until all are known."""

    def __init__(self, world: Any, make: Any, store: Any = None, **config: Any) -> None:
        self.world, self.make = world, make
        if store is not None:
            world.store = store
        self.inbox = world.open(**{"workers": 1, **config})
        self.ran: list[int] = []
        self.then: dict[int, Callable[[Any], object]] = {}
        self.all_known = threading.Event()

    def handle(self, event: Any, context: Any) -> None:
        number = int(event.id.removeprefix("evt_"))
        self.ran.append(number)
        if number == 0:
            assert self.all_known.wait(20.0)
        self.then.get(number, lambda _context: None)(context)

    def fill(self, count: int = COUNT, **options: Any) -> None:
        self.inbox.on("*", name="h", **options)(self.world.handler(self.handle))
        for number in range(count):
            self.world.receive(self.make.event(f"evt_{number}", obj={"id": f"cus_{number}", "object": "customer"}))

    def open_the_gate(self) -> None:
        worker = self.inbox._core._worker
        self.make.wait_for(lambda: len(worker.scheduler) >= len(self.world.store.waiting(0, 1000)))
        self.all_known.set()

    def work(self, until: Callable[[], Any]) -> None:
        self.world.work(until, self.open_the_gate)

    def drain(self) -> None:
        self.work(lambda: not self.world.store.waiting(0, 1))

    def record(self, number: int) -> InboxRecord:
        return next(record for record in self.world.records() if record.event_id == f"evt_{number}")

    def attempts(self) -> set[int]:
        return {record.handlers["h"].attempts for record in self.world.records()}

    def statuses(self) -> Counter[str]:
        return Counter(record.status for record in self.world.records())


@pytest.fixture
def bundle(world: Any, make: Any, store: Any) -> Bundle:
    return Bundle(world, make, store)


@pytest.mark.usefixtures("patient")
def test_fresh_events_share_a_transaction(world: Any, make: Any, store: Any) -> None:
    """Events of different objects that are there at once are claimed in one transaction, and what became of them is written in one."""
    faulty = FaultyInboxStore(store)
    bundle = Bundle(world, make, faulty)
    bundle.fill()
    bundle.drain()
    assert sorted(bundle.ran) == list(range(COUNT))
    assert bundle.statuses() == {"done": COUNT}
    calls = Counter(call.operation for call in faulty.calls)
    assert (calls["claim"], calls["advance"]) == (0, 0)
    # The first event, all others, and a look at their lanes.
    assert calls["together"] <= COUNT / 2
    assert {record.attempts for record in world.records()} == {1}


@pytest.mark.usefixtures("patient")
def test_attempts_are_counted_before_the_first_of_a_bundle_runs(bundle: Bundle) -> None:
    """Before any handler of a bundle runs, the attempt of every event in it is in the store."""
    counted: list[tuple[int, ...]] = []
    bundle.then[1] = lambda _context: counted.append(tuple(record.attempts for record in bundle.world.records()))
    bundle.fill()
    bundle.drain()
    assert counted == [(1,) * COUNT]


def test_a_slow_handler_holds_up_no_neighbour(world: Any, make: Any, store: Any) -> None:
    """While a handler takes its time, another thread handles what was claimed with its event, and what was handled before it is written."""
    bundle = Bundle(world, make, store, workers=2)
    # A sync one in both colours: an async one that does not let others run would hold up the event loop.
    world.handler = lambda function: function
    free = threading.Event()
    bundle.then[5] = lambda _context: free.wait(20.0)
    bundle.fill()

    def until() -> bool:
        if bundle.statuses()["done"] == COUNT - 1:
            free.set()
        return not world.store.waiting(0, 1)

    bundle.work(until)
    assert free.is_set()
    assert sorted(bundle.ran) == list(range(COUNT))
    assert bundle.attempts() == {1}


def test_what_was_handled_is_written_though_no_thread_is_free(sync_world: Any, make: Any, store: Any) -> None:
    """Where the slow handler has the only thread, what was handled before it is finished all the same; the rest is nobody's meanwhile."""
    bundle = Bundle(sync_world, make, store)
    free = threading.Event()
    bundle.then[5] = lambda _context: free.wait(20.0)
    bundle.fill()

    def until() -> bool:
        if bundle.ran[-1:] == [5] and bundle.statuses()["done"] == 5 and store.counts().running == 1:
            free.set()
        return not sync_world.store.waiting(0, 1)

    bundle.work(until)
    assert free.is_set()
    assert bundle.statuses() == {"done": COUNT}
    assert bundle.attempts() == {1}


def test_a_handler_that_never_ends_is_left_behind_alone(sync_world: Any, make: Any, store: Any) -> None:
    """A handler that outruns its time in a bundle costs its own event an attempt, and its neighbours nothing."""
    bundle = Bundle(sync_world, make, store, timeout=0.2, overrun=0.0, lease=5.0)
    free = threading.Event()
    bundle.then[5] = lambda context: context.attempt == 1 and free.wait(20.0)
    bundle.fill()
    try:
        bundle.drain()
    finally:
        free.set()
    assert bundle.statuses() == {"done": COUNT}
    assert {number: bundle.record(number).handlers["h"].attempts for number in range(1, COUNT)} == {
        number: 2 if number == 5 else 1 for number in range(1, COUNT)
    }


def test_stopping_gives_back_what_was_not_begun(bundle: Bundle) -> None:
    """A worker that stops in the middle of a bundle writes what was handled, and gives back the others; none of them has lost an attempt."""
    attempts: list[int] = []
    bundle.then = {number: lambda context: attempts.append(context.attempt) for number in range(1, COUNT)}
    bundle.then[3] = lambda _context: bundle.inbox.stop()
    bundle.fill(retry=HandlerRetry(attempts=3, initial_delay=0.0, max_delay=0.0))
    bundle.work(lambda: 3 in bundle.ran and bundle.inbox._core._worker is None)
    begun = set(bundle.ran)
    assert begun < set(range(COUNT))
    for record in bundle.world.records():
        number = int(record.event_id.removeprefix("evt_"))
        assert record.run is None
        assert record.status == ("done" if number in begun else "pending")
        assert number in begun or record.handlers == NOT_BEGUN
    attempts.clear()
    bundle.drain()
    assert set(attempts) == {1}
    assert sorted(bundle.ran) == list(range(COUNT))


def test_stopping_while_a_handler_stands_still(sync_world: Any, make: Any, store: Any) -> None:
    """A worker that stops while a handler does not end gives back its neighbours too, and writes those that were handled."""
    bundle = Bundle(sync_world, make, store, grace=0.0)
    free = threading.Event()
    bundle.then[5] = lambda _context: free.wait(20.0)
    bundle.fill()
    bundle.work(lambda: 5 in bundle.ran)
    try:
        records = {int(record.event_id.removeprefix("evt_")): record for record in sync_world.records()}
        assert {number for number, record in records.items() if record.status == "done"} == {0, 1, 2, 3, 4}
        assert all(record.run is None for record in records.values())
        assert all(records[number].handlers == NOT_BEGUN for number in range(6, COUNT))
        assert records[5].handlers == {}
    finally:
        free.set()


@pytest.mark.usefixtures("patient")
def test_a_worker_that_is_cancelled_gives_back_what_was_not_begun(async_world: Any, make: Any, store: Any) -> None:
    """When the event loop ends in the middle of a bundle, what was handled is written, and only the event whose handler ran has lost an attempt."""
    bundle = Bundle(async_world, make, store, grace=0.1)

    async def stand_still(event: Any, context: Any) -> None:
        bundle.handle(event, context)
        if event.id == "evt_5":
            await anyio.sleep_forever()

    async_world.handler = lambda _function: stand_still
    bundle.fill()
    bundle.work(lambda: 5 in bundle.ran)
    for number in range(COUNT):
        record = bundle.record(number)
        assert record.run is None
        assert record.status == ("done" if number < 5 else "pending")
        assert number < 5 or record.handlers == ({} if number == 5 else NOT_BEGUN)


def test_handlers_without_attempts_to_spare_are_not_bundled(world: Any, make: Any, store: Any) -> None:
    """An event that may be tried once or twice is claimed by itself: no neighbour that kills the process can cost it an attempt."""
    faulty = FaultyInboxStore(store)
    bundle = Bundle(world, make, faulty)
    held: list[int] = []
    bundle.then = {number: lambda _context: held.append(store.counts().running) for number in range(1, COUNT)}
    bundle.fill(retry=HandlerRetry(attempts=2))
    bundle.drain()
    assert bundle.statuses() == {"done": COUNT}
    assert set(held) == {1}
    assert {record.attempts for record in world.records()} == {1}


def test_what_was_claimed_before_is_handled_alone(bundle: Bundle) -> None:
    """After the death of a process each event that it had claimed is handled by itself: the one that killed it can do it to no neighbour again."""
    running: list[int] = []
    bundle.then = {number: lambda _context: running.append(bundle.world.store.counts().running) for number in range(1, COUNT)}
    bundle.fill()
    runs = {lane: f"dead {lane}" for lane in {waiting.lane for waiting in bundle.world.store.waiting(0, 100)}}
    bundle.world.store.together([], runs, 0.0001, lambda _type: True)
    time.sleep(0.01)
    bundle.drain()
    assert set(running) == {1}
    assert {number: bundle.record(number).handlers["h"].attempts for number in range(COUNT)} == dict.fromkeys(range(COUNT), 2)


def test_effects_of_a_bundle_stand_and_fall_alone(sync_world: Any, make: Any, store: Any) -> None:
    """Of handlers that use their transactions, one that raises is undone, and one that ends its transaction fails: their neighbours are not."""
    if isinstance(store, SqlInboxStore):
        with store.transaction() as connection:
            connection.exec_driver_sql("CREATE TABLE effects (number INTEGER)")
    bundle = Bundle(sync_world, make, store)

    def effect(context: Any) -> None:
        number = int(context.event_record.event_id.removeprefix("evt_"))
        if isinstance(store, MemoryInboxStore):
            context.connection.append(number)
        else:
            context.connection.exec_driver_sql("INSERT INTO effects VALUES (?)", (number,))
        if number == 4 and context.attempt == 1:
            raise LookupError
        if number == 6 and context.attempt == 1:
            context.connection.rollback() if hasattr(context.connection, "rollback") else context.connection.end()

    bundle.then = dict.fromkeys(range(1, COUNT), effect)
    bundle.fill()
    bundle.drain()
    if isinstance(store, MemoryInboxStore):
        effects = list(store.effects)
    else:
        with store.transaction() as connection:
            effects = [number for (number,) in connection.exec_driver_sql("SELECT number FROM effects")]
    assert sorted(effects) == list(range(1, COUNT))
    attempts = {number: bundle.record(number).handlers["h"].attempts for number in range(1, COUNT)}
    assert attempts == {number: 2 if number in {4, 6} else 1 for number in range(1, COUNT)}


def test_failures_in_a_bundle_are_their_own(bundle: Bundle) -> None:
    """A handler that raises in a bundle is tried again, or parked; its neighbours are done."""

    def fail(context: Any) -> None:
        if context.attempt == 1:
            raise LookupError

    def never(_context: Any) -> None:
        raise LookupError

    bundle.then = {2: fail, 3: never}
    bundle.fill()
    bundle.drain()
    assert bundle.statuses() == {"done": COUNT - 1, "parked": 1}
    assert bundle.record(3).status == "parked"
    assert Counter(bundle.ran) == {number: {2: 2, 3: 3}.get(number, 1) for number in range(COUNT)}


def test_order_is_kept_and_nothing_overlaps(world: Any, make: Any, store: Any) -> None:
    """However handlers and bundles mix, slow ones among them, of each object one event is handled at a time, in the order of arrival."""
    inbox = None
    world.store = store
    inbox = world.open(workers=4)
    lock, running, overlaps = threading.Lock(), set[str](), list[str]()
    seen: dict[str, list[int]] = {}

    def handle(event: Any, context: Any) -> None:
        lane = context.event_record.lane
        with lock:
            overlaps.extend([lane] if lane in running else [])
            running.add(lane)
            seen.setdefault(lane, []).append(context.event_record.id)
        if context.event_record.id % 40 == 0:
            time.sleep(0.08)
        with lock:
            running.discard(lane)
        if context.event_record.id % 25 == 0 and context.attempt == 1:
            raise LookupError

    inbox.on("*", name="h")(world.handler(handle))
    for number in range(200):
        world.receive(make.event(f"evt_{number}", obj={"id": f"cus_{number % 23}", "object": "customer"}))
    world.drain()
    assert overlaps == []
    assert {record.status for record in world.records()} == {"done"}
    assert sum(len(ids) for ids in seen.values()) == 208
    assert all(ids == sorted(ids) for ids in seen.values())


@pytest.mark.parametrize("kind", ["fail", "lose_answer"])
@pytest.mark.parametrize("times", [1, 2, 6])
def test_a_store_that_is_away_loses_nothing(sync_world: Any, make: Any, store: Any, kind: Any, times: int) -> None:
    """When a bundle cannot be claimed or written, or nobody says that it was, every event is handled in the end, and soon."""
    faulty = FaultyInboxStore(store)
    bundle = Bundle(sync_world, make, faulty, lease=300.0, sweep_interval=0.5)
    bundle.then[3] = lambda _context: faulty.faults.next(operation="together", kind=kind, times=times)
    bundle.fill()
    bundle.drain()
    assert bundle.statuses() == {"done": COUNT}
    assert set(bundle.ran) == set(range(COUNT))


def test_a_step_that_the_store_refuses_keeps_no_other_from_being_written(sync_world: Any, make: Any) -> None:
    """One step that the store will never take is not written, and its event is handled again; those of its neighbours are written."""

    class Picky(MemoryInboxStore):
        refusals = 2

        def _check(self, steps: Any) -> None:
            if any("cus_4" in self._rows.events[step.id].lane for step in steps) and self.refusals:
                self.refusals -= 1
                msg = "refused"
                raise StoreError(msg, retryable=False)

        def together(self, steps: Any, *others: Any) -> Any:
            self._check(steps)
            return super().together(steps, *others)

        def advance(self, step: Any, *others: Any, **options: Any) -> Any:
            self._check([step])
            return super().advance(step, *others, **options)

    bundle = Bundle(sync_world, make, Picky())
    bundle.fill()
    bundle.drain()
    assert Counter(bundle.ran) == {number: 2 if number == 4 else 1 for number in range(COUNT)}
    assert bundle.statuses() == {"done": COUNT}


def test_a_claim_that_was_lost_in_a_bundle(bundle: Bundle) -> None:
    """An event whose claim was lost before its step was written is handled again; the steps of its neighbours are written."""

    def lose(context: Any) -> None:
        if context.attempt == 1:
            bundle.world.store.release(context.event_record.run)

    bundle.then[4] = lose
    bundle.fill()
    bundle.drain()
    assert Counter(bundle.ran) == {number: 2 if number == 4 else 1 for number in range(COUNT)}
    assert bundle.statuses() == {"done": COUNT}
    assert bundle.inbox.counts["claims_lost"] == 1


def test_a_store_that_breaks_its_promise_loses_no_lane(sync_world: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is none of a store's does not end a worker, and every event is handled later."""
    errors: list[Exception] = []

    class Broken(MemoryInboxStore):
        def together(self, *arguments: Any) -> Any:
            if errors:
                raise errors.pop()
            return super().together(*arguments)

    bundle = Bundle(sync_world, make, Broken())
    bundle.then[3] = lambda _context: errors.append(LookupError())
    bundle.fill()
    bundle.drain()
    assert bundle.statuses() == {"done": COUNT}


def test_stores_without_bundles_are_served(sync_world: Any, make: Any) -> None:
    """A store that knows nothing of bundles is a store: every event is claimed and finished by itself."""

    class Plain(MemoryInboxStore):
        bundles = False

    faulty = FaultyInboxStore(Plain())
    bundle = Bundle(sync_world, make, faulty)
    bundle.fill()
    bundle.drain()
    assert bundle.statuses() == {"done": COUNT}
    assert "together" not in {call.operation for call in faulty.calls}


# How lanes are given to threads.


def test_lanes_are_given_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread gets as many lanes as the pace says; while handlers are quick, no other thread gets fresh ones meanwhile."""
    monkeypatch.setattr(Pace, "most", 2)
    scheduler = Scheduler(time.time, Pace())
    for lane in "abcd":
        scheduler.offer(lane)
    turn: Any = scheduler.turn()
    assert (turn.lanes, turn.together) == (["a", "b"], True)
    assert scheduler.more(turn) == ["c", "d"]
    assert scheduler.more(turn) == []
    for lane in "abcd":
        scheduler.finish(lane)
    scheduler.offer("e")
    other: list[Any] = []
    thread = threading.Thread(target=lambda: other.append(scheduler.turn()))
    thread.start()
    scheduler.part(turn)
    thread.join()
    assert other[0].lanes == ["e"]
    assert scheduler.more(turn) is None


def test_what_was_begun_has_a_turn_of_its_own() -> None:
    """A lane whose head was begun before is drained alone, and in turns with fresh ones; neither kind waits for the end of the other."""
    scheduler = Scheduler(time.time, Pace())
    for lane in "abc":
        scheduler.offer(lane)
    turn: Any = scheduler.turn()
    for lane in "ab":
        scheduler.finish(lane, begun=True)
    assert scheduler.more(turn) is None
    scheduler.part(turn)
    scheduler.offer("d")
    found = [scheduler.turn() for _ in range(3)]
    assert [(turn.lanes, turn.together) for turn in found if turn] == [(["a"], False), (["d"], True), (["b"], False)]


def test_what_was_handed_over_is_given_back_at_the_end(make: Any) -> None:
    """What one thread claimed and could not begin goes to one that has nothing to do; what nobody took is returned when all stops."""
    scheduler = Scheduler(time.time, Pace())
    claimed: Any = [type("Claimed", (), {"record": replace(RECORD, lane=lane)}) for lane in "ab"]
    assert not scheduler.hand_over(claimed[0])
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(scheduler.turn()))
    thread.start()
    make.wait_for(lambda: scheduler._idle)
    with scheduler._condition:
        handed = [scheduler.hand_over(one) for one in claimed]
    thread.join()
    assert handed == [True, False]
    assert (found[0].lanes, found[0].claimed, found[0].together) == (["a"], claimed[0], False)
    scheduler._idle = 1
    assert scheduler.hand_over(claimed[1])
    assert scheduler.stop() == [claimed[1]]
    assert not scheduler.hand_over(claimed[0])
    assert scheduler.turn() is None


RECORD = InboxRecord(
    id=1,
    event_id="evt_1",
    type="a.b",
    account="",
    livemode=False,
    lane="a",
    endpoint="default",
    status="pending",
    received_at=0.0,
)


def test_slow_handlers_are_not_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer handlers take, the fewer events a thread claims together; where they are slow, each thread claims one at a time."""
    monkeypatch.undo()
    pace = Pace()
    assert pace.quick
    sizes = [pace.most]
    for _ in range(50):
        pace.note(0.002)
        sizes.append(pace.most)
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1], pace.quick) == (50, 5, False)
    for _ in range(50):
        pace.note(1.0)
    assert pace.most == 1
