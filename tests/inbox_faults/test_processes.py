"""Forks, spawned processes, several event loops, and both colours in one process."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import anyio
import anyio.lowlevel

from atom_stripe.inbox import AsyncWebhookInbox
from tests.inbox_faults.shop import (
    PATIENCE,
    Shop,
    all_handled,
    drain,
    effect,
    ended,
    event,
    new_inbox,
    raw,
    reported,
    send,
    signed,
    started,
    wait_for,
)


def test_a_fork_beside_a_running_worker(any_shop: Shop) -> None:
    """A process that forks with an open inbox goes on, and so does the child: nothing is lost, doubled, or shared; a server may be busy meanwhile."""
    process = started("forked", any_shop.kind, any_shop.url)
    try:
        codes = reported(process)
    finally:
        code = ended(process)
    assert (codes, code) == ([0], 0)
    statuses = any_shop.statuses()
    assert set(statuses.values()) == {"done"}
    assert {name for name in statuses if "child" in name} == {f"evt_child_{number}" for number in (*range(20), "last")}
    assert sorted(name for name, _ in any_shop.effects()) == sorted(statuses)


def in_a_spawned_process(kind: str, url: str, number: int) -> None:
    with Shop(kind, url).inbox() as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event(number))
        drain(inbox)


def test_a_spawned_process(shop: Shop) -> None:
    """A process that is spawned from one with an open inbox works on the same events with an inbox of its own."""
    with shop.inbox() as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event(1))
        process = multiprocessing.get_context("spawn").Process(target=in_a_spawned_process, args=(shop.kind, shop.url, 2))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0
        send(inbox, event(3))
        drain(inbox)
    assert shop.effects() == [("evt_1", 1), ("evt_2", 1), ("evt_3", 1)]


def test_both_colours_and_two_event_loops_in_one_process(any_shop: Shop) -> None:
    """A sync inbox and an async one, in asyncio and then in trio, share a store: each event is handled once, by whoever has its lane."""
    handled: list[tuple[str, str]] = []
    with any_shop.open() as store:
        asynchronous = new_inbox(store, kind=AsyncWebhookInbox)

        async def handle(event: Any, context: Any) -> None:
            await anyio.lowlevel.checkpoint()
            handled.append((event.id, "async"))

        asynchronous.on("*", name="h")(handle)

        async def flow(name: str) -> None:
            async with asynchronous.worker():
                for number in range(20):
                    body = raw(event(f"{name}_{number}", obj=f"cus_{number % 4}"))
                    assert (await asynchronous.receive(body, signed(body))).outcome == "stored"
                await all_handled(store)

        with new_inbox(store) as synchronous:
            synchronous.on("*", name="h")(lambda event, context: handled.append((event.id, "sync")))
            with synchronous.worker():
                for number in range(20):
                    send(synchronous, event(f"sync_{number}", obj=f"cus_{number % 4}"))
                for backend in ("asyncio", "trio"):
                    anyio.run(flow, backend, backend=backend)
                wait_for(lambda: not store.waiting(0, 1))

        async def close() -> None:
            await asynchronous.close()

        anyio.run(close)
    assert sorted(name for name, _ in handled) == sorted(
        f"evt_{name}_{number}" for name in ("sync", "asyncio", "trio") for number in range(20)
    )
    assert set(any_shop.statuses().values()) == {"done"}


def test_one_inbox_in_two_event_loops_at_once(shop: Shop) -> None:
    """An async inbox takes deliveries in two event loops of two threads at the same time."""
    outcomes: list[str] = []
    with shop.open() as store:
        inbox = new_inbox(store, kind=AsyncWebhookInbox)

        async def flow(name: str) -> None:
            async def deliver(number: int) -> None:
                body = raw(event(f"{name}_{number}"))
                outcomes.append((await inbox.receive(body, signed(body))).outcome)

            async with anyio.create_task_group() as group:
                for number in range(30):
                    group.start_soon(deliver, number)

        threads = [
            threading.Thread(target=anyio.run, args=(flow, backend), kwargs={"backend": backend}) for backend in ("asyncio", "trio")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        anyio.run(inbox.close)
    assert outcomes == ["stored"] * 60
    assert len(shop.statuses()) == 60
