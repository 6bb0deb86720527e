"""Handlers that behave badly, and workers that die."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from atom_stripe.inbox import HandlerRetry
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from tests.canary import API_KEY, CLIENT_SECRET


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


def recurse() -> None:
    recurse()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (MemoryError(), "MemoryError"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(), "StopIteration"),
        (asyncio.CancelledError(), "CancelledError"),
        (UnprintableError(), "UnprintableError: (its message cannot be read)"),
        (ValueError("x" * 100_000), "ValueError: " + "x" * 487 + "…"),
        (ValueError(f"key {API_KEY} of {CLIENT_SECRET}\0\ud800"), "ValueError: key … of pi_1…?"),
        (None, "RecursionError"),
    ],
)
def test_whatever_a_handler_raises_the_worker_lives(world: Any, make: Any, error: Any, text: str) -> None:
    """Whatever a handler raises, it is tried again and then parked, with a short text and no secret, and the lane goes on."""
    if world.colour == "trio" and isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        # Not exceptions that a handler under trio has a use for; trio treats them as any other.
        text = str(text)
    inbox, seen = world.open(), []

    def handle(event: Any, context: Any) -> None:
        seen.append(event.id)
        if event.id == "evt_1":
            if error is None:
                recurse()
            raise error

    inbox.on("*", name="h")(world.handler(handle))
    world.receive(make.event())
    world.receive(make.event("evt_2"))
    world.drain()
    assert seen == ["evt_1"] * 3 + ["evt_2"]
    first, second = world.records()
    assert (first.status, first.handlers["h"].attempts, second.status) == ("parked", 3, "done")
    stored = first.handlers["h"].error
    if isinstance(error, StopIteration) and world.colour != "sync":
        # A coroutine cannot raise it.
        text = "RuntimeError: coroutine raised StopIteration"
    assert stored == text or (error is None and stored.startswith(text))
    assert len(stored) <= 500


def test_an_event_that_kills_its_process_is_parked(world: Any, make: Any) -> None:
    """Attempts are counted before they are made: a worker that dies in a handler leaves a count, and in the end the event is parked."""
    world.open()
    seen: list[int] = []
    world.inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(context.attempt)))
    world.receive(make.event())
    for number in range(2):
        # What a worker leaves behind that was killed: a claim, which ran out.
        claimed = world.store.claim("test//cus_1", f"dead-{number}", 60.0)
        assert claimed.attempts == number + 1
        world.store.release(f"dead-{number}")
    world.drain()
    assert seen == [3]
    world.receive(make.event("evt_2"))
    for number in range(3):
        world.store.claim("test//cus_1", f"dead-{number}", 60.0)
        world.store.release(f"dead-{number}")
    world.drain()
    assert seen == [3]
    record = world.records(event_id="evt_2")[0]
    assert (record.status, record.handlers["h"].attempts) == ("parked", 3)
    assert record.handlers["h"].error.startswith("WorkerDied")


def test_the_attempt_of_every_handler_is_durable_before_it_runs(world: Any, make: Any) -> None:
    """While a handler runs, the store has its attempt already, whichever handler of the event it is, and whichever attempt."""
    inbox, stored = world.open(), []

    def handle(name: str) -> Any:
        def run(event: Any, context: Any) -> None:
            record = world.only()
            state = record.handlers.get(name)
            stored.append((name, context.attempt, record.attempts if state is None else state.attempts))
            if context.attempt == 1:
                raise LookupError

        return world.handler(run)

    for name in ("a", "b"):
        inbox.on("*", name=name)(handle(name))
    world.receive(make.event())
    world.drain()
    assert stored == [("a", 1, 1), ("b", 1, 1), ("a", 2, 2), ("b", 2, 2)]


def test_an_async_handler_is_cancelled_at_its_timeout(async_world: Any, make: Any) -> None:
    """An async handler that takes too long is cancelled, which is a failed attempt, and what it did is undone."""
    import anyio

    inbox, ended = async_world.open(), []

    async def slow(event: Any, context: Any) -> None:
        await context.connection.run_sync(lambda connection: connection.append("effect"))
        try:
            await anyio.sleep(3600)
        finally:
            ended.append(context.attempt)

    inbox.on("*", name="h", timeout=0.02)(slow)
    async_world.receive(make.event())
    async_world.drain()
    assert ended == [1, 2, 3]
    assert async_world.only().handlers["h"].error.startswith("TimeoutError: the handler ran longer than 0.02 s")
    assert async_world.store.effects == ()


def test_a_handlers_own_timeout_is_its_own(async_world: Any, make: Any) -> None:
    """A ``TimeoutError`` of the handler's own is kept with its own words."""
    inbox = async_world.open()

    async def slow(event: Any, context: Any) -> None:
        msg = "the bank did not answer"
        raise TimeoutError(msg)

    inbox.on("*", name="h")(slow)
    async_world.receive(make.event())
    async_world.drain()
    assert async_world.only().handlers["h"].error == "TimeoutError: the bank did not answer"


def test_a_sync_handler_that_does_not_end_is_left_behind(world: Any, make: Any) -> None:
    """A sync handler cannot be stopped: after its timeout and the overrun its event is tried again without it, and its transaction is undone."""
    inbox = world.open(overrun=0.05, workers=1)
    free, seen = threading.Event(), []

    def hangs(event: Any, context: Any) -> None:
        seen.append((event.id, context.attempt))
        context.connection.append((event.id, context.attempt))
        if len(seen) == 1:
            free.wait()

    inbox.on("*", name="h", timeout=0.02)(hangs)
    world.receive(make.event())
    world.receive(make.event("evt_2"))

    def done() -> bool:
        if len(world.records(status="done")) == 2:
            free.set()
        return inbox.counts.get("abandoned") == 1

    world.work(done)
    assert seen == [("evt_1", 1), ("evt_1", 2), ("evt_2", 1)]
    assert world.store.effects == (("evt_1", 2), ("evt_2", 1))
    assert inbox.counts["timeouts"] >= 1


def test_a_slow_success_is_a_success(sync_world: Any, make: Any) -> None:
    """A sync handler that ends after its timeout and within the overrun has succeeded; that it was slow is counted."""
    import time

    inbox = sync_world.open(overrun=60.0)
    inbox.on("*", name="h", timeout=0.01)(lambda event, context: time.sleep(0.05))
    sync_world.receive(make.event())
    sync_world.drain()
    assert sync_world.only().handlers["h"].status == "done"
    assert inbox.counts["timeouts"] == 1


def test_a_handler_longer_than_the_lease_keeps_its_claim(world: Any, make: Any) -> None:
    """Claims are renewed while handlers run, so that no second worker begins with the event, however long it takes."""
    inbox = world.open(lease=0.15)
    other = make.World(world.colour, world.store)
    runs, free = [], threading.Event()

    def slow(event: Any, context: Any) -> None:
        runs.append(context.attempt)
        free.wait()

    inbox.on("*", name="h")(slow)
    world.receive(make.event())
    extended = []
    extend = world.store.extend

    def counted(names: Any, lease: float, /) -> None:
        extended.append(names)
        extend(names, lease)
        if len(extended) == 5:
            claimed = other.store.claim("test//cus_1", "thief", 60.0)
            assert not hasattr(claimed, "payload")
            free.set()

    world.store.extend = counted
    world.drain()
    assert runs == [1]
    assert world.only().handlers["h"].attempts == 1
    assert inbox.counts.get("claims_lost", 0) == 0


def test_a_handler_that_was_removed_leaves_a_parked_event(world: Any, make: Any) -> None:
    """An event that waits for a handler which no longer exists is tried as its retries say, holding up nothing, and then parked."""
    first = world.open(retry=HandlerRetry(initial_delay=0.0, max_delay=0.0, attempts=3))
    old, seen = world.inbox, []
    first.on("*", name="gone")(world.handler(lambda event, context: (_ for _ in ()).throw(LookupError())))
    world.receive(make.event())
    claimed = world.store.claim("test//cus_1", "run", 60.0)
    from atom_stripe.protocols import HandlerState, Step

    world.store.advance(Step(id=claimed.id, run="run", handlers={"gone": HandlerState(attempts=9)}, status="pending"))
    second = world.open()
    assert second is not old
    second.on("*", name="new")(world.handler(lambda event, context: seen.append(event.id)))
    world.drain()
    record = world.only()
    assert seen == ["evt_1"]
    assert record.status == "parked"
    assert record.handlers["gone"].error == "LookupError: no handler 'gone' is registered in this process"


def test_a_store_that_is_away_does_not_end_the_worker(world: Any, make: Any) -> None:
    """While the store is away the worker waits, and goes on when it is back."""
    from atom_stripe.errors import StoreError

    class Away(MemoryInboxStore):
        failures = 3

        def claim(self, lane: str, run: str, lease: float, /) -> Any:
            if self.failures:
                self.failures -= 1
                msg = "away"
                raise StoreError(msg) if self.failures else RuntimeError(msg)
            return super().claim(lane, run, lease)

        def waiting(self, after: int, limit: int, /) -> Any:
            if self.failures % 2:
                msg = "away"
                raise StoreError(msg)
            return super().waiting(after, limit)

    world.store = Away()
    inbox, seen = world.open(), []
    inbox.on("*", name="h")(world.handler(lambda event, context: seen.append(event.id)))
    world.store.failures = 1
    world.receive(make.event())
    world.store.failures = 0
    world.drain()
    assert seen == ["evt_1"]
