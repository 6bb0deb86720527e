"""Who waits for whom on PostgreSQL, and a store that was closed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import psycopg
import pytest
from sqlalchemy import create_engine, event

from atom_stripe.errors import ClientClosedError, StoreError
from atom_stripe.protocols import Arrival, HandlerState, InboxQuery, InboxRecord, Step, TokenQuery
from atom_stripe.stores._sql import database
from atom_stripe.stores._sql.inbox_statements import inbox_statements
from atom_stripe.stores.sql import AsyncSqlTokenStore, SqlInboxStore, SqlTokenStore, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30.0
PARKED = {"shop": HandlerState(status="parked", attempts=10, error="LookupError: no")}


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """Return the URL of a PostgreSQL database with our tables."""
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def store(postgres: str) -> Iterator[SqlInboxStore]:
    with SqlInboxStore.from_url(postgres) as store:
        yield store


def arrival(name: object, **changes: Any) -> Arrival:
    values: dict[str, Any] = {
        "event_id": f"evt_{name}",
        "type": "invoice.paid",
        "account": "",
        "livemode": False,
        "lane": f"lane_{name}",
        "payload": b"{}",
        "endpoint": "main",
        "received_at": 1.0,
    }
    return Arrival(**{**values, **changes})


def parked(store: SqlInboxStore, *names: str) -> list[int]:
    """Store events and leave them parked; returns their ids."""
    ids = [one.id for one in store.append([arrival(name) for name in names]) if one is not None and not isinstance(one, StoreError)]
    for id_, name in zip(ids, names, strict=True):
        record = store.claim(f"lane_{name}", "run", 60.0)
        assert isinstance(record, InboxRecord)
        store.advance(Step(id=id_, run="run", handlers=PARKED, status="parked"))
    return ids


def waits(url: str) -> bool:
    """Whether somebody waits for a lock."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return bool(found and found[0])


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


@pytest.mark.parametrize("bad", [False, True], ids=["a sound batch", "a batch with a bad arrival"])
def test_duplicates_lock_as_changes_do(postgres: str, store: SqlInboxStore, bad: bool) -> None:
    """Duplicates of parked events come in any order and are locked in that of their ids: a change that has the first can have the last too."""
    first, last = parked(store, "a", "b")
    batch = [arrival("b"), arrival("a"), *([arrival("c", payload=None)] if bad else [])]
    with ThreadPoolExecutor(1) as pool, closing(psycopg.connect(postgres)) as change:
        # So that the store would be the one to be undone.
        change.execute("SET deadlock_timeout = '60s'")
        change.execute("SELECT id FROM stripe_events WHERE id = %s FOR UPDATE", [first])
        appending = pool.submit(store.append, batch)
        wait_for(lambda: waits(postgres))
        change.execute("SET lock_timeout = '100ms'")
        change.execute("SELECT id FROM stripe_events WHERE id = %s FOR UPDATE", [last])
        change.rollback()
        results = appending.result(PATIENCE)
    assert [getattr(result, "outcome", type(result).__name__) for result in results] == ["requeued", "requeued", "StoreError"][
        : len(batch)
    ]
    assert [record.status for record in store.find(InboxQuery())] == ["pending", "pending"]


@pytest.mark.parametrize("others", [1, 2])
def test_who_is_undone_for_a_deadlock_tries_again(postgres: str, store: SqlInboxStore, others: int) -> None:
    """A transaction that the server undoes, so that others who wait for it get on, is run once more; nobody is told."""
    first, last = parked(store, "a", "b")
    asked: list[int] = []

    def change(record: InboxRecord) -> InboxRecord:
        asked.append(record.id)
        return record

    with ThreadPoolExecutor(1) as pool:
        for _ in range(others):
            with closing(psycopg.connect(postgres)) as other:
                other.execute("SET deadlock_timeout = '60s'")
                other.execute("SELECT id FROM stripe_events WHERE id = %s FOR UPDATE", [last])
                changing = pool.submit(store.change, [first, last], change)
                wait_for(lambda: waits(postgres))
                # It has the first, and waits for the last.
                other.execute("SELECT id FROM stripe_events WHERE id = %s FOR UPDATE", [first])
                other.commit()
            assert [record.id for record in changing.result(PATIENCE)] == [first, last]
    assert asked == [first, last] * others


def test_a_deadlock_without_end_is_told(postgres: str, store: SqlInboxStore) -> None:
    """A transaction that is undone again and again ends with an error that says that it may be tried again."""
    calls: list[int] = []

    def work(session: Any) -> None:
        calls.append(1)
        session.connection.execute("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END $$")

    with pytest.raises(StoreError, match="DeadlockDetected, 40P01") as raised:
        store._database.transact(work, "do it")
    assert raised.value.retryable
    assert len(calls) == 1 + database._DEADLOCKS


def test_counting_reads_what_is_to_be_done(postgres: str, store: SqlInboxStore) -> None:
    """With many events that are done, counting reads no table as a whole: not before PostgreSQL has looked at what is in it, and not after."""
    with closing(psycopg.connect(postgres, autocommit=True)) as connection:
        connection.execute("ALTER TABLE stripe_events SET (autovacuum_enabled = off)")
        connection.execute("""
            INSERT INTO stripe_events (event_id, type, account, livemode, lane, endpoint, status, received_at, handlers, attempts, due_at)
            SELECT 'evt_' || n, 't', '', false, 'lane_' || n, 'main',
                CASE WHEN n > 19990 THEN 'pending' WHEN n > 19980 THEN 'parked' ELSE 'done' END, n, '{}', 1,
                CASE WHEN n > 19998 THEN 4e9 END
            FROM generate_series(1, 20000) AS n
        """)
        for _ in range(2):
            plan = str(connection.execute("EXPLAIN " + inbox_statements("postgresql").get("counts").sql).fetchall())
            assert "Seq Scan on stripe_events" not in plan
            assert "idx_stripe_events_parked" in plan
            assert "idx_stripe_events_pending" in plan
            connection.execute("ANALYZE stripe_events")
    assert isinstance(store.claim("lane_19991", "run", 60.0), InboxRecord)
    counts = store.counts()
    assert (counts.pending, counts.parked, counts.delayed, counts.running, counts.oldest_pending_at) == (10, 10, 2, 1, 19991.0)


# After close().


def connections(engine: Any) -> list[int]:
    """Return a count, kept up to date, of the connections that are open."""
    count = [0]

    def opened(*_: Any) -> None:
        count[0] += 1

    def closed(*_: Any) -> None:
        count[0] -= 1

    event.listen(engine, "connect", opened)
    event.listen(engine, "close", closed)
    return count


CALLS: dict[str, Callable[[SqlInboxStore], Any]] = {
    "append": lambda store: store.append([arrival(1)]),
    "claim": lambda store: store.claim("lane_1", "run", 1.0),
    "waiting": lambda store: store.waiting(0, 1),
    "counts": lambda store: store.counts(),
    "keep": lambda store: store.keep("name", "value"),
    "transaction": lambda store: store.transaction().__enter__(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("owned", [True, False])
def test_a_closed_inbox_store_says_so(database_url: str, call: str, owned: bool) -> None:
    """After close() nothing is read or written, and no connection is opened, whoever the engine belongs to."""
    upgrade(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    open_now = connections(engine)
    store = SqlInboxStore(engine, close_engine=owned)
    store.counts()
    store.close()
    kept = open_now[0]
    assert kept == (0 if owned else 1)
    with pytest.raises(ClientClosedError, match="this store is closed: make a new one"):
        CALLS[call](store)
    assert open_now[0] == kept
    store.close()
    engine.dispose()


def test_a_closed_token_store_says_so(database_url: str) -> None:
    """So do both token stores."""
    upgrade(database_url)
    store = SqlTokenStore.from_url(database_url)
    assert store.find(TokenQuery()) == []
    store.close()
    with pytest.raises(ClientClosedError):
        store.find(TokenQuery())

    async def flow() -> None:
        store = AsyncSqlTokenStore.from_url(database_url)
        await store.close()
        with pytest.raises(ClientClosedError):
            await store.load(("user", "connect", False))

    anyio.run(flow)


@pytest.mark.parametrize("way", ["transact", "transaction"])
def test_who_is_late_leaves_nothing_open(database_url: str, way: str) -> None:
    """Work that had begun when the store was closed is finished, and its connection is closed then."""
    upgrade(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    open_now = connections(engine)
    store = SqlInboxStore(engine, close_engine=True)
    (appended,) = store.append([arrival(1)])
    assert appended
    if way == "transaction":
        with store.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO stripe_values (name, value) VALUES ('a', 'b')")
            store.close()
    else:

        def change(record: InboxRecord) -> InboxRecord:
            store.close()
            return record

        assert len(store.change([appended.id], change)) == 1
    assert open_now[0] == 0
    with SqlInboxStore(engine) as after:
        assert after.value("a") == ("b" if way == "transaction" else None)
    engine.dispose()


@pytest.mark.parametrize("way", ["counts", "transaction"])
def test_a_connection_that_comes_after_the_end_is_closed(database_url: str, way: str) -> None:
    """A thread that asked for a connection before the store was closed, and gets it afterwards, does not use it and leaves none open."""
    upgrade(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    open_now = connections(engine)
    store = SqlInboxStore(engine, close_engine=True)

    event.listen(engine, "do_connect", lambda *_: store.close(), once=True)
    with pytest.raises(ClientClosedError):
        CALLS[way](store)
    assert open_now[0] == 0
    engine.dispose()


@pytest.mark.parametrize("way", ["counts", "transaction"])
def test_a_connection_on_its_way_back_is_closed(database_url: str, way: str) -> None:
    """A store that is closed while a connection is on its way back into the pool leaves none open."""
    upgrade(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    open_now = connections(engine)
    store = SqlInboxStore(engine, close_engine=True)

    event.listen(engine, "checkin", lambda *_: store.close(), once=True)
    CALLS[way](store)
    assert open_now[0] == 0
    engine.dispose()
