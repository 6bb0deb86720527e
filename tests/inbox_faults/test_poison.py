"""Handlers that kill their process, never end, or stand still, on real databases."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from atom_stripe.inbox import AsyncWebhookInbox, HandlerRetry
from atom_stripe.protocols import InboxQuery
from tests.canary import API_KEY
from tests.inbox_faults.shop import (
    PATIENCE,
    Shop,
    all_handled,
    drain,
    effect,
    ended,
    event,
    new_inbox,
    reported,
    send,
    started,
    wait_for,
)

TWICE = HandlerRetry(attempts=2, initial_delay=0.0, max_delay=0.0)


def test_events_that_end_their_process(any_shop: Shop) -> None:
    """An event that ends the process of its worker, in whatever way, is parked after its attempts; its lane goes on, its effects are undone."""
    from tests.inbox_faults.worker import WAYS_TO_DIE

    with any_shop.inbox() as inbox:
        for way in WAYS_TO_DIE:
            send(inbox, event(way, type=way, obj=way))
            send(inbox, event(f"behind_{way}", obj=way))
    process = started("deaths", any_shop.kind, any_shop.url)
    codes = reported(process)
    assert ended(process) == 0
    # Each of them had its two attempts, and no other.
    assert codes[-1] == 0
    deaths = [7, -signal.SIGSEGV, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGKILL]
    assert sorted(codes[:-1]) == sorted(deaths * 2)
    with any_shop.open() as store:
        for record in store.find(InboxQuery()):
            poison = record.type in WAYS_TO_DIE
            assert record.status == ("parked" if poison else "done"), record
            assert record.handlers["h"].attempts == (2 if poison else 1)
            assert not poison or str(record.handlers["h"].error).startswith("WorkerDied")
    assert any_shop.effects() == sorted((f"evt_behind_{way}", 1) for way in WAYS_TO_DIE)


def test_neighbours_of_an_event_that_ends_its_process(sqlite_shop: Shop) -> None:
    """An event that kills its process takes an attempt from those that were claimed with it, once, and is parked after its own; they are done."""
    poison = range(30, 33)
    with sqlite_shop.inbox() as inbox:
        for number in range(60):
            send(inbox, event(number, type="die.kill" if number in poison else "customer.updated", obj=f"cus_{number}"))
    process = started("deaths_in_bundles", sqlite_shop.kind, sqlite_shop.url)
    codes = reported(process)
    assert ended(process) == 0
    assert codes[-1] == 0
    with sqlite_shop.open() as store:
        records = store.find(InboxQuery())
    dead = {f"evt_{number}" for number in poison}
    assert {record.event_id for record in records if record.status == "parked"} == dead
    assert {record.status for record in records if record.event_id not in dead} == {"done"}
    # The first death took one from its neighbours, those that kill too among them: afterwards each of them killed alone.
    attempts = {record.event_id: record.handlers["h"].attempts for record in records}
    assert {attempts[event_id] for event_id in dead} == {4}
    assert {attempts[event_id] for event_id in attempts.keys() - dead} == {1, 2}
    assert 4 <= len(codes) - 1 <= 12
    assert sorted(id_ for id_, _ in sqlite_shop.effects()) == sorted(attempts.keys() - dead)


class LoudError(Exception):
    """An error that nobody can pickle, and that has a great deal to say."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self) -> str:
        return "y" * 10_000_000

    __repr__ = __str__

    def __reduce__(self) -> Any:
        raise SystemExit


def endless(depth: int = 0) -> int:
    return endless(depth + 1)


ERRORS: dict[str, Any] = {
    "raises": lambda: LookupError("no such order"),
    "loud": LoudError,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "memory": MemoryError,
    "generator": GeneratorExit,
    "stop": lambda: StopIteration("stop"),
    "bytes no database takes": lambda: ValueError(f"\0 \ud800 {API_KEY} \x1b[2J"),
    "many": lambda: ExceptionGroup("several", [ValueError(number) for number in range(1000)]),
    "stack": endless,
}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_whatever_is_raised_is_kept_in_a_row(any_shop: Shop, kind: str) -> None:
    """Whatever a handler raises is kept as a short text without secrets; its event is parked, its lane goes on, its effects are undone."""

    def handle(event: Any, context: Any) -> None:
        effect(event, context)
        if event.type.startswith("poison."):
            error = ERRORS[event.type.removeprefix("poison.")]()
            raise error

    async def handle_async(event: Any, context: Any) -> None:
        await context.connection.run_sync(lambda connection: effect(event, _With(connection, context.attempt)))
        if event.type.startswith("poison."):
            error = ERRORS[event.type.removeprefix("poison.")]()
            raise error

    def store_all(send_one: Any) -> None:
        for name in ERRORS:
            lane = f"cus_{name.replace(' ', '_')}"
            send_one(event(f"bad_{lane}", type=f"poison.{name}", obj=lane))
            send_one(event(f"good_{lane}", obj=lane))

    with any_shop.open() as store:
        with new_inbox(store, retry=TWICE) as inbox:
            store_all(lambda one: send(inbox, one))
            inbox.on("*", name="h")(handle)
            if kind == "sync":
                drain(inbox)
        if kind == "async":

            async def flow() -> None:
                async with new_inbox(store, retry=TWICE, kind=AsyncWebhookInbox) as inbox:
                    inbox.on("*", name="h")(handle_async)
                    async with inbox.worker():
                        await all_handled(store)

            anyio.run(flow)
        records = store.find(InboxQuery())
    bad = [record for record in records if record.type.startswith("poison.")]
    assert {record.status for record in records} - {"parked"} == {"done"}
    assert {record.status for record in bad} == {"parked"}
    assert {record.handlers["h"].attempts for record in bad} == {2}
    errors = [str(record.handlers["h"].error) for record in bad]
    assert all(5 < len(error) <= 500 for error in errors)
    assert not any(API_KEY in error or "\0" in error for error in errors)
    assert [name for name, _ in any_shop.effects()] == sorted(record.event_id for record in records if record not in bad)


class _With:
    """As much of a context as an effect needs."""

    def __init__(self, connection: Any, attempt: int) -> None:
        self.connection = connection
        self.attempt = attempt


def test_a_handler_that_never_stops(any_shop: Shop) -> None:
    """A handler that computes for ever loses its event after its time, others are handled meanwhile, and its event is tried again and parked."""
    over = threading.Event()
    seen: list[str] = []

    def handle(event: Any, context: Any) -> None:
        seen.append(event.id)
        while event.id == "evt_endless" and not over.is_set():
            pass

    with any_shop.inbox(workers=2, overrun=0.1, retry=TWICE) as inbox:
        inbox.on("*", name="h", timeout=0.1)(handle)
        send(inbox, event("endless"))
        send(inbox, event("behind"))
        for number in range(5):
            send(inbox, event(number, obj=f"cus_{number}"))
        with inbox.worker():
            wait_for(lambda: not inbox.store.waiting(0, 1))
            over.set()
            wait_for(lambda: inbox.counts.get("abandoned") == 2)
    statuses = any_shop.statuses()
    assert statuses.pop("evt_endless") == "parked"
    assert set(statuses.values()) == {"done"}
    assert sorted(seen) == sorted(["evt_endless"] * 2 + ["evt_behind"] + [f"evt_{number}" for number in range(5)])


def test_a_handler_that_blocks_the_event_loop_keeps_its_claim(any_shop: Shop) -> None:
    """An async handler that blocks its event loop for longer than the lease is not run a second time, although another worker stands by."""
    runs: list[str] = []
    entered = threading.Event()

    async def flow(store: Any) -> None:
        async with new_inbox(store, kind=AsyncWebhookInbox, lease=0.6) as inbox:

            async def handle(event: Any, context: Any) -> None:
                runs.append("first")
                entered.set()
                # What nobody should do.
                time.sleep(1.5)  # noqa: ASYNC251
                await anyio.lowlevel.checkpoint()

            inbox.on("*", name="h")(handle)
            async with inbox.worker():
                await all_handled(store)
            assert inbox.counts.get("claims_lost", 0) == 0

    with any_shop.open() as store, any_shop.inbox(lease=0.6, sweep_interval=0.1) as other:
        send(other, event())
        other.on("*", name="h")(lambda event, context: runs.append("second"))
        first = threading.Thread(target=anyio.run, args=(flow, store))
        first.start()
        assert entered.wait(PATIENCE)
        with other.worker():
            first.join()
    assert runs == ["first"]
    assert any_shop.statuses() == {"evt_1": "done"}


def test_a_process_that_stood_still_writes_nothing(any_shop: Shop) -> None:
    """A process that stands still for longer than its lease, and goes on after another one did its work, has no effect and writes nothing."""
    with any_shop.inbox(lease=0.5, sweep_interval=0.1) as inbox:
        send(inbox, event())
        process = started("stall", any_shop.kind, any_shop.url)
        try:
            assert reported(process) == "standing still"
            inbox.on("*", name="h")(effect)
            drain(inbox)
            assert any_shop.effects() == [("evt_1", 2)]
            os.kill(process.pid, signal.SIGCONT)
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
            counts = reported(process)
        finally:
            os.kill(process.pid, signal.SIGCONT)
            code = ended(process)
    assert code == 0
    assert counts["claims_lost"] == 1
    assert any_shop.effects() == [("evt_1", 2)]
    assert any_shop.rows("SELECT status, attempts FROM stripe_events") == [("done", 2)]
