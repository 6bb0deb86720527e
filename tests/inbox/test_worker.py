"""Lanes, workers, and how they end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import anyio
import pytest

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import Arrival, Waiting
from atom_stripe.stores.inbox_memory import MemoryInboxStore


def fill(store: Any, count: int, lanes: int) -> None:
    """Store *count* events in *lanes*, as a reconciliation would."""
    payload = b'{"id":"evt","object":"event","type":"a.b","data":{"object":{"id":"x","object":"y"}}}'
    store.append(
        [
            Arrival(
                event_id=f"evt_{number}",
                type="a.b",
                account="",
                livemode=False,
                lane=f"test//{number % lanes}",
                payload=payload,
                endpoint="default",
                received_at=0.0,
            )
            for number in range(count)
        ]
    )


def test_events_of_one_lane_never_overlap_and_keep_their_order(world: Any, make: Any) -> None:
    """Of each lane one event at a time is handled, in the order of arrival, by however many workers in however many processes."""
    others = [world, make.World(world.colour, world.store)]
    seen: list[tuple[str, int]] = []
    running: set[str] = set()
    overlaps: list[str] = []
    lock = threading.Lock()

    def handle(event: Any, context: Any) -> None:
        lane = context.event_record.lane
        with lock:
            if lane in running:
                overlaps.append(lane)
            running.add(lane)
            seen.append((lane, context.event_record.id))
        time.sleep(0)
        with lock:
            running.discard(lane)

    for one in others:
        one.open(workers=4, lane_turn=3)
        one.inbox.on("*", name="h")(one.handler(handle))
    fill(world.store, 300, 7)
    first = threading.Thread(target=others[1].drain)
    first.start()
    world.drain()
    first.join()
    assert overlaps == []
    assert len(seen) == 300
    for lane in {lane for lane, _ in seen}:
        ids = [number for name, number in seen if name == lane]
        assert ids == sorted(ids)


def test_a_turn_ends(sync_world: Any) -> None:
    """A lane with many events does not keep others waiting: after its turn the next lane has its own."""
    seen: list[str] = []
    inbox = sync_world.open(workers=1, lane_turn=2)
    inbox.on("*", name="h")(lambda event, context: seen.append(context.event_record.lane))
    fill(sync_world.store, 6, 1)
    sync_world.store.append(
        [
            Arrival(
                event_id="late",
                type="a.b",
                account="",
                livemode=False,
                lane="test//other",
                payload=b'{"id":"late","object":"event","type":"a.b","data":{"object":{}}}',
                endpoint="default",
                received_at=0.0,
            )
        ]
    )
    sync_world.drain()
    # Sooner where one event of each lane is claimed together.
    assert seen.index("test//other") <= 2


def test_a_hundred_thousand_pending_events_are_taken_up(sync_world: Any) -> None:
    """A worker that starts finds every lane of a long backlog, page by page, and remembers lanes, not events."""
    asked: list[int] = []

    class Backlog(MemoryInboxStore):
        def waiting(self, after: int, limit: int, /) -> Any:
            asked.append(after)
            return [Waiting(id_, f"lane-{id_ % 5000}", None, None) for id_ in range(after + 1, min(after + limit, 100_000) + 1)]

    sync_world.store = Backlog()
    worker = sync_world.open()._core._begin(lambda: None)
    worker._find(0)
    assert len(worker.scheduler) == 5000
    assert worker._last == 100_000
    assert asked == list(range(0, 100_001, 5000))


def test_stopping_lets_handlers_end(world: Any, make: Any) -> None:
    """A handler that runs when the worker is stopped ends in peace, and no other is begun."""
    inbox, seen, entered = world.open(workers=1), [], threading.Event()

    def handle(event: Any, context: Any) -> None:
        seen.append(event.id)
        entered.set()
        inbox.stop()

    inbox.on("*", name="h")(world.handler(handle))
    for number in range(3):
        world.receive(make.event(f"evt_{number}"))
    world.call(inbox.run_worker)
    assert seen == ["evt_0"]
    assert [record.status for record in world.records()] == ["done", "pending", "pending"]
    assert {record.run for record in world.records()} == {None}


def test_what_does_not_end_is_released(world: Any, make: Any) -> None:
    """A sync handler that outlasts the grace is handed back at once, for another process, and what it writes afterwards is undone."""
    inbox, entered, free = world.open(grace=0.05, timeout=None), threading.Event(), threading.Event()
    left = []

    def handle(event: Any, context: Any) -> None:
        context.connection.append("effect")
        entered.set()
        free.wait()
        left.append(event.id)

    inbox.on("*", name="h")(handle)
    world.receive(make.event())
    world.work(entered.is_set)
    record = world.only()
    assert (record.status, record.run) == ("pending", None)
    free.set()
    make.wait_for(lambda: left and inbox.counts.get("abandoned"))
    assert world.store.effects == ()
    assert world.only().status == "pending"


def test_async_handlers_are_cancelled_after_the_grace(async_world: Any, make: Any) -> None:
    """An async handler that outlasts the grace is cancelled, its event handed back, and nothing of it is kept."""
    inbox, entered, ended = async_world.open(grace=0.05), threading.Event(), []

    async def handle(event: Any, context: Any) -> None:
        entered.set()
        try:
            await anyio.sleep(3600)
        finally:
            ended.append(event.id)

    inbox.on("*", name="h")(handle)
    async_world.receive(make.event())
    async_world.work(entered.is_set)
    assert ended == ["evt_1"]
    record = async_world.only()
    assert (record.status, record.run, dict(record.handlers)) == ("pending", None, {})


def test_cancelling_the_worker_stops_it(async_world: Any, make: Any) -> None:
    """``run_worker()`` that is cancelled hands back what runs, and a new one can begin."""
    inbox, seen = async_world.open(), []

    async def handle(event: Any, context: Any) -> None:
        seen.append(context.attempt)
        if len(seen) == 1:
            await anyio.sleep(3600)

    inbox.on("*", name="h")(handle)
    async_world.receive(make.event())

    async def flow() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.run_worker)
            while not seen:  # noqa: ASYNC110 - it happens in another task
                await anyio.sleep(0.002)
            group.cancel_scope.cancel()

    anyio.run(flow, backend=async_world.colour)
    assert async_world.only().run is None
    async_world.drain()
    assert seen == [1, 2]
    assert async_world.only().status == "done"


def test_an_error_in_the_block_comes_out_as_it_is(world: Any) -> None:
    """What the block of ``worker()`` raises is what the caller sees, and the worker has ended."""
    inbox = world.open()

    if world.colour == "sync":

        def program() -> Any:
            with inbox.worker():
                raise LookupError

    else:

        async def program() -> Any:
            async with inbox.worker():
                raise LookupError

    with pytest.raises(LookupError):
        world.call(program)
    assert inbox._core._worker is None


def test_there_is_one_worker_in_a_process(world: Any) -> None:
    """A second worker of one inbox is refused, and the first goes on."""
    inbox = world.open()

    def program() -> None:
        with inbox.worker():
            with pytest.raises(ConfigurationError, match="already"):
                inbox.run_worker()
            with pytest.raises(ConfigurationError, match="already"), inbox.worker():
                """Never reached."""

    async def program_async() -> None:
        async with inbox.worker():
            with pytest.raises(ConfigurationError, match="already"):
                async with inbox.worker():
                    """Never reached."""

    world.call(program if world.colour == "sync" else program_async)


def test_stop_without_a_worker_does_nothing(world: Any) -> None:
    """``stop()`` may come at any time, also before there is anything to stop."""
    inbox = world.open()
    inbox.stop()
    inbox.on("*", name="h")(world.handler(lambda event, context: None))
    world.drain()
    inbox.stop()


def test_a_lane_that_another_process_holds_is_taken_up_when_its_lease_ends(world: Any, make: Any) -> None:
    """When a process died with a claim, its event is handled as soon as the claim has run out."""
    inbox, seen = world.open(), []
    inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(context.attempt)))
    world.receive(make.event())
    world.store.claim("test//cus_1", "dead", 0.1)
    world.drain()
    assert seen == [2]


def test_modes_do_not_mix(world: Any, make: Any) -> None:
    """An inbox for one mode sets events of the other aside, whatever signed them, and handles its own."""
    inbox, seen = world.open(livemode=True), []
    inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(event.id)))
    world.receive(make.event("evt_test"))
    world.receive(make.event("evt_live", livemode=True))
    world.drain()
    assert seen == ["evt_live"]
    assert [record.status for record in world.records()] == ["discarded", "done"]


def test_a_paused_handler_waits_and_holds_up_nobody(world: Any, make: Any) -> None:
    """While a handler is paused its events wait, other handlers go on, and on resuming the old ones come first."""
    inbox, seen = world.open(workers=1), []
    inbox.on("*", name="a")(world.handler(lambda event, context: seen.append(("a", event.id))))
    inbox.on("*", name="b")(world.handler(lambda event, context: seen.append(("b", event.id))))
    world.call(lambda: inbox.pause("b", actor="ops"))
    assert world.call(inbox.paused) == ("b",)
    for number in (1, 2):
        world.receive(make.event(f"evt_{number}"))
    world.work(lambda: all("~" in record.lane for record in world.records()))
    assert seen == [("a", "evt_1"), ("a", "evt_2")]
    assert {record.handlers["b"].status for record in world.records()} == {"pending"}
    world.receive(make.event("evt_3"))
    assert world.call(lambda: inbox.resume("b")) == 2
    assert world.call(inbox.paused) == ()
    world.drain()
    assert [id_ for name, id_ in seen if name == "b"] == ["evt_1", "evt_2", "evt_3"]
    assert {record.status for record in world.records()} == {"done"}
    assert [(entry.action, entry.actor, entry.subject) for _, entry in world.store.logged(0, 10)] == [
        ("pause", "ops", "handler b"),
        ("resume", "program", "handler b"),
    ]


def test_a_running_worker_hears_of_a_pause_and_of_its_end(world: Any, make: Any) -> None:
    """A worker of another process learns of a pause, and of the events that go on after it, within its poll interval."""
    inbox, seen = world.open(), []
    inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(event.id)))
    other = make.World("sync", world.store)
    other.open()
    other.inbox.on("*", name="h")(lambda event, context: None)
    other.inbox.pause("h")
    world.receive(make.event())
    world.work(lambda: any("~" in record.lane for record in world.records()))
    assert seen == []

    def resume() -> None:
        other.inbox.resume("h")

    world.work(lambda: seen, resume)
    assert seen == ["evt_1"]


def test_only_known_handlers_can_be_paused(world: Any) -> None:
    """A misspelled name is an error, not a pause that nobody notices."""
    inbox = world.open()
    with pytest.raises(ConfigurationError, match="no handler"):
        world.call(lambda: inbox.pause("h"))
    with pytest.raises(ConfigurationError, match="no handler"):
        world.call(lambda: inbox.resume("h"))


def test_an_event_that_nobody_brought_back_finds_home(world: Any, make: Any) -> None:
    """An event that was set aside for a pause goes back into its lane by itself when it is looked at after the pause, and is handled there."""
    inbox, seen = world.open(), []
    inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(context.event_record.lane)))
    world.call(lambda: inbox.pause("h"))
    world.receive(make.event())
    world.work(lambda: "~" in world.only().lane)
    assert world.only().due_at is not None
    # As if the process that resumed had ended before it brought anything back.
    world.store.keep("paused:h", None)
    world.store.change([world.only().id], lambda record: replace(record, due_at=None))
    world.drain()
    assert seen == ["test//cus_1"]
    assert world.only().status == "done"


def test_a_looker_that_fails_looks_again(sync_world: Any, make: Any) -> None:
    """What goes wrong while looking for events, whatever it is, does not end the search."""
    errors: list[Exception] = [LookupError(), StoreError("away")]

    class Broken(MemoryInboxStore):
        def waiting(self, after: int, limit: int, /) -> Any:
            if errors:
                raise errors.pop()
            return super().waiting(after, limit)

    sync_world.store = Broken()
    inbox, seen = sync_world.open(), []
    inbox.on("*", name="h")(lambda event, context: seen.append(event.id))
    sync_world.receive(make.event())
    sync_world.work(lambda: seen)
    assert seen == ["evt_1"]


def test_a_claim_that_cannot_be_released_runs_out(sync_world: Any, make: Any) -> None:
    """A store that is away while a worker ends does not keep it from ending."""
    entered, free = threading.Event(), threading.Event()

    class Away(MemoryInboxStore):
        def release(self, run: str, /) -> None:
            msg = "away"
            raise StoreError(msg)

    sync_world.store = Away()
    inbox = sync_world.open(grace=0.0)

    def handle(event: Any, context: Any) -> None:
        entered.set()
        free.wait()

    inbox.on("*", name="h")(handle)
    sync_world.receive(make.event())
    sync_world.work(entered.is_set)
    free.set()
    assert sync_world.only().run is not None
    make.wait_for(lambda: inbox.counts.get("abandoned"))
