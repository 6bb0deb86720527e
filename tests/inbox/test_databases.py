"""The core over real databases: SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import create_engine, text

from atom_stripe.stores.sql import SqlInboxStore, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def database(database_url: str) -> Iterator[Any]:
    """A store with its tables, and a table of the user's own."""
    upgrade(database_url)
    with SqlInboxStore.from_url(database_url) as store:
        with store.transaction() as connection:
            connection.execute(text("CREATE TABLE effects (event VARCHAR(50), attempt INTEGER)"))
        yield store


def effects(store: Any) -> list[tuple[str, int]]:
    with store.transaction() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT event, attempt FROM effects ORDER BY event"))]


INSERT = text("INSERT INTO effects VALUES (:event, :attempt)")


def test_effects_happen_once(world: Any, make: Any, database: Any) -> None:
    """Of several attempts, in both colours, the effects of the one that succeeded are there, once, for every event."""
    world.store = database
    inbox = world.open()

    def blocking(event: Any, context: Any) -> None:
        context.connection.execute(INSERT, {"event": event.id, "attempt": context.attempt})
        assert context.connection.scalar(text("SELECT 7")) == 7
        if context.attempt == 1:
            raise LookupError

    async def native(event: Any, context: Any) -> None:
        await context.connection.execute(INSERT, {"event": event.id, "attempt": context.attempt})
        rows = (await context.connection.execute(text("SELECT event FROM effects WHERE event = :event"), {"event": event.id})).all()
        assert [row.event for row in rows] == [event.id]
        assert await context.connection.scalar(text("SELECT 7")) == 7
        if context.attempt == 1:
            raise LookupError

    inbox.on("*", name="h")(blocking if world.colour == "sync" else native)
    for number in range(6):
        world.receive(make.event(f"evt_{number}", obj={"id": f"cus_{number % 3}", "object": "customer"}))
    world.drain()
    assert effects(database) == [(f"evt_{number}", 2) for number in range(6)]
    assert {record.status for record in world.records()} == {"done"}


def test_a_statement_that_fails_is_a_failed_attempt(world: Any, make: Any, database: Any) -> None:
    """A handler that swallows an error of the database does not make the event done with half of its effects, where the database forbids it."""
    world.store = database
    inbox = world.open()

    def handle(event: Any, context: Any) -> None:
        context.connection.execute(INSERT, {"event": event.id, "attempt": context.attempt})
        if context.attempt == 1:
            context.connection.execute(text("SELECT * FROM no_such_table"))

    inbox.on("*", name="h")(handle)
    world.receive(make.event())
    world.drain()
    assert effects(database) == [("evt_1", 2)]


def test_two_processes_share_the_work(sync_world: Any, make: Any, database: Any, database_url: str) -> None:
    """Two workers with connections of their own, as two processes have, handle every event once and never two of a lane at once."""
    running: set[str] = set()
    overlaps: list[str] = []
    lock = threading.Lock()

    def handle(event: Any, context: Any) -> None:
        lane = context.event_record.lane
        with lock:
            if lane in running:
                overlaps.append(lane)
            running.add(lane)
        context.connection.execute(INSERT, {"event": event.id, "attempt": context.attempt})
        with lock:
            running.discard(lane)

    with SqlInboxStore.from_url(database_url) as second_store:
        worlds = [make.World("sync", database), make.World("sync", second_store)]
        for one in worlds:
            one.open(workers=2)
            one.inbox.on("*", name="h")(handle)
        for number in range(40):
            worlds[0].receive(make.event(f"evt_{number:02}", obj={"id": f"cus_{number % 4}", "object": "customer"}))
        thread = threading.Thread(target=worlds[1].drain)
        thread.start()
        worlds[0].drain()
        thread.join()
    assert overlaps == []
    assert [event for event, _ in effects(database)] == [f"evt_{number:02}" for number in range(40)]


def test_a_handler_that_is_cancelled_with_an_open_transaction(async_world: Any, make: Any, database: Any) -> None:
    """When a worker ends, an async handler in the middle of its transaction is cancelled and its claim released, although SQLite was locked."""
    async_world.store = database
    inbox, entered = async_world.open(grace=0.05), threading.Event()

    async def handle(event: Any, context: Any) -> None:
        await context.connection.execute(INSERT, {"event": event.id, "attempt": context.attempt})
        entered.set()
        await anyio.sleep(3600)

    inbox.on("*", name="h")(handle)
    async_world.receive(make.event())
    async_world.work(entered.is_set)
    record = async_world.only()
    assert (record.status, record.run) == ("pending", None)
    assert effects(database) == []


def test_a_database_that_is_not_set_up_is_busy(sync_world: Any, make: Any, sqlite_url: str) -> None:
    """Without tables nothing is accepted, and the error says what to do."""
    from atom_stripe.errors import InboxBusyError

    engine = create_engine(sqlite_url)
    try:
        sync_world.store = SqlInboxStore(engine)
        sync_world.open()
        with pytest.raises(InboxBusyError, match="upgrade"):
            sync_world.receive(make.event())
    finally:
        sync_world.inbox.close()
        engine.dispose()
