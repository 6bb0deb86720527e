"""The inbox in SQL, on a file of SQLite's and on a real PostgreSQL: what the conformance suite cannot know of."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Integer, create_engine, make_url, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from atom_stripe.errors import ClaimLostError, ConfigurationError, StoreError
from atom_stripe.protocols import (
    Appended,
    Arrival,
    AuditEntry,
    HandlerState,
    InboxQuery,
    InboxRecord,
    Nothing,
    Refusal,
    Step,
    TokenRecord,
)
from atom_stripe.stores._sql import migrations, turns
from atom_stripe.stores._sql.inbox_statements import inbox_statements
from atom_stripe.stores.sql import SqlInboxStore, SqlTokenStore, current, upgrade
from atom_stripe.testing.inbox_conformance import INBOX_STORE_CHECKS
from tests.canary import MARK
from tests.databases import new_postgres, new_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

    from atom_stripe.testing.inbox_conformance import InboxCheck

NOW = 1_700_000_000.0
PATIENCE = 30.0


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of a database with our tables for checks that keep to events of their own."""
    with new_sqlite() if request.param == "sqlite" else new_postgres(request.getfixturevalue("postgres_server")) as url:
        upgrade(url)
        yield url


@pytest.fixture
def url(database_url: str) -> str:
    """Return the URL of a database with our tables and one of the shop's."""
    upgrade(database_url)
    with closing(plain(database_url)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        connection.commit()
    return database_url


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """Return the URL of a PostgreSQL database with our tables."""
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def sqlite(sqlite_url: str) -> str:
    """Return the URL of a file with our tables."""
    upgrade(sqlite_url)
    return sqlite_url


@pytest.fixture
def store(url: str) -> Iterator[SqlInboxStore]:
    """Yield a store."""
    with SqlInboxStore.from_url(url) as store:
        yield store


def plain(url: str) -> Any:
    """Return a connection of the driver's, past the store."""
    return psycopg.connect(url) if url.startswith("postgres") else sqlite3.connect(url.removeprefix("sqlite:///"))


def rows(url: str, sql: str) -> list[Any]:
    with closing(plain(url)) as connection:
        return list(connection.execute(sql).fetchall())


def arrival(name: object = 1, **changes: Any) -> Arrival:
    values: dict[str, Any] = {
        "event_id": f"evt_{name}",
        "type": "invoice.paid",
        "account": "",
        "livemode": False,
        "lane": "lane",
        "payload": b"{}",
        "endpoint": "main",
        "received_at": NOW,
    }
    return Arrival(**{**values, **changes})


def outcomes(results: Sequence[Appended | StoreError | None]) -> list[str]:
    return [result.outcome if isinstance(result, Appended) else type(result).__name__ for result in results]


def claimed(store: SqlInboxStore, lane: str = "lane", run: str = "run", lease: float = 60.0) -> InboxRecord:
    record = store.claim(lane, run, lease)
    assert isinstance(record, InboxRecord)
    return record


def done(record: InboxRecord, **changes: Any) -> Step:
    assert record.run
    step = Step(id=record.id, run=record.run, handlers={"h": HandlerState(status="done", attempts=1)}, status="done")
    return replace(step, **changes)


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


@pytest.mark.parametrize("check", INBOX_STORE_CHECKS, ids=lambda check: check.name)
def test_the_store_keeps_every_promise(check: InboxCheck, shared_url: str) -> None:
    """The store passes the conformance suite."""
    check.run(lambda: SqlInboxStore.from_url(shared_url))


def test_fifty_at_once_store_one(url: str, store: SqlInboxStore) -> None:
    """Fifty deliveries of one event at the same time leave one row, one payload, and fifty lines in the log."""
    together = Barrier(50)

    def deliver(_: int) -> list[str]:
        together.wait(PATIENCE)
        return outcomes(store.append([arrival()]))

    with ThreadPoolExecutor(50) as threads:
        found = [outcome for [outcome] in threads.map(deliver, range(50))]
    assert sorted(found) == ["duplicate"] * 49 + ["stored"]
    assert rows(url, "SELECT count(*) FROM stripe_events") == rows(url, "SELECT count(*) FROM stripe_event_payloads") == [(1,)]
    assert sorted(rows(url, "SELECT outcome, count(*) FROM stripe_deliveries GROUP BY 1")) == [("duplicate", 49), ("stored", 1)]


SENDER = """
import random, sys
from tests.stores.test_inbox_sql import arrival, outcomes
from atom_stripe.stores.sql import SqlInboxStore
names = list(range(300))
random.Random(sys.argv[2]).shuffle(names)
sys.stdin.readline()
stored = 0
with SqlInboxStore.from_url(sys.argv[1]) as store:
    for start in range(0, 300, 30):
        found = outcomes(store.append([arrival(name) for name in names[start : start + 30]]))
        assert set(found) <= {"stored", "duplicate"}, found
        stored += found.count("stored")
print(stored)
"""


def test_processes_send_the_same_in_other_orders(url: str) -> None:
    """Batches of the same events, each process in another order, neither block each other for ever nor store anything twice."""
    processes = [started(SENDER, url, str(seed)) for seed in range(2)]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    said = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(said) == 300
    assert rows(url, "SELECT count(*), count(DISTINCT event_id) FROM stripe_events") == [(300, 300)]


WORKER = """
import sys, time
from tests.stores.test_inbox_sql import arrival, claimed, done
from atom_stripe.stores.sql import SqlInboxStore
store = SqlInboxStore.from_url(sys.argv[1])
[stored] = store.append([arrival("kept")])
record = claimed(store, lease=600.0)
with store.transaction() as connection:
    connection.exec_driver_sql("INSERT INTO orders (id) VALUES (1)")
    if sys.argv[2] == "inside":
        store.advance(done(record), connection=connection)
        print("ready", flush=True)
        sys.stdin.readline()
    store.advance(done(record), connection=connection)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("where", "status", "orders"), [("inside", "pending", []), ("after", "done", [(1,)])])
def test_a_kill_leaves_effect_and_step_together(url: str, where: str, status: str, orders: list[Any]) -> None:
    """After kill -9, before the commit neither the handler's effect nor its step are there, afterwards both; what was appended and claimed stays."""
    with started(WORKER, url, where) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    with SqlInboxStore.from_url(url) as store:
        [record] = store.find(InboxQuery())
    assert (record.event_id, record.status, record.attempts) == ("evt_kept", status, 1)
    assert rows(url, "SELECT id FROM orders") == orders


def test_a_bad_arrival_fails_alone(url: str, store: SqlInboxStore) -> None:
    """What the database does not take is an error of its own, without its values, and those beside it are stored and logged."""
    bad = arrival(2, object_id=f"\ud800{MARK}")
    results = store.append(
        [arrival(1), bad, Refusal(endpoint="main", reason="WebhookError", received_at=NOW), arrival(3), arrival(1)]
    )
    assert outcomes(results) == ["stored", "StoreError", "NoneType", "stored", "duplicate"]
    assert MARK not in repr(results)
    logged = rows(url, "SELECT outcome, reason FROM stripe_deliveries ORDER BY id")
    assert logged == [
        ("stored", None),
        ("stored", None),
        ("duplicate", None),
        ("refused", "StoreError"),
        ("refused", "WebhookError"),
    ]
    assert rows(url, "SELECT count(*) FROM stripe_events") == [(2,)]


@pytest.mark.parametrize("name", ["a\0b", "".join(random.Random(1).choices("abcdefghij", k=20_000))])
def test_what_only_the_server_refuses_fails_alone(postgres: str, name: str) -> None:
    """A NUL, or a name that is too long for an index, fails in the server, and takes nothing along."""
    with SqlInboxStore.from_url(postgres) as store:
        assert outcomes(store.append([arrival(1), arrival(2, event_id=name), arrival(3)])) == ["stored", "StoreError", "stored"]


def test_ids_follow_the_order_of_arrival(store: SqlInboxStore) -> None:
    """In a batch that is longer than a statement, with duplicates in it, ids count up in the order of arrival."""
    store.append([arrival(name) for name in (50, 7)])
    names = [*range(150, 0, -1), 20]
    results = store.append([arrival(name) for name in names])
    stored = [
        (one.id, name) for one, name in zip(results, names, strict=True) if isinstance(one, Appended) and one.outcome == "stored"
    ]
    assert stored == sorted(stored)
    assert len(stored) == 148
    found = {record.event_id: record for record in store.find(InboxQuery(limit=500, payloads=True))}
    assert all(found[f"evt_{name}"].id == id_ and found[f"evt_{name}"].payload == b"{}" for id_, name in stored)


def test_a_lost_claim_undoes_the_handler(url: str, store: SqlInboxStore) -> None:
    """A handler whose claim has passed to another run learns of it before it commits: its effect is gone."""
    store.append([arrival()])
    slow = claimed(store, run="slow", lease=0.01)
    time.sleep(0.02)
    claimed(store, run="fast")

    def handle() -> None:
        with store.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO orders (id) VALUES (1)")
            store.advance(done(slow), connection=connection)

    with pytest.raises(ClaimLostError):
        handle()
    assert rows(url, "SELECT id FROM orders") == []
    assert store.find(InboxQuery())[0].run == "fast"


def test_an_open_transaction_keeps_the_lane(url: str, store: SqlInboxStore) -> None:
    """Between a step within a handler's transaction and its commit nobody gets the next event of the lane, even if the lease ends."""
    store.append([arrival(1), arrival(2)])
    record = claimed(store, lease=0.3)
    with ThreadPoolExecutor(1) as thread, SqlInboxStore.from_url(url) as other:
        with store.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO orders (id) VALUES (1)")
            store.advance(done(record), connection=connection)
            waiting = thread.submit(lambda: (other.claim("lane", "other", 60.0), rows(url, "SELECT id FROM orders")))
            time.sleep(0.4)
            assert not waiting.done()
        taken, orders = waiting.result(PATIENCE)
    assert isinstance(taken, InboxRecord)
    assert (taken.event_id, orders) == ("evt_2", [(1,)])


class Base(DeclarativeBase):
    """The shop's models."""


class Order(Base):
    """An order of the shop's."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


def test_an_orm_session_is_part_of_the_transaction(url: str, store: SqlInboxStore) -> None:
    """What a session on the connection flushed and committed is undone with the step, and kept with it."""
    store.append([arrival()])
    record = claimed(store)

    def handle(order: int, *, fail: bool) -> None:
        with store.transaction() as connection:
            with Session(bind=connection) as session:
                session.add(Order(id=order))
                session.commit()
            store.advance(done(record), connection=connection)
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(1, fail=True)
    assert rows(url, "SELECT id FROM orders") == []
    assert store.find(InboxQuery(status="pending"))[0].run == record.run
    handle(2, fail=False)
    assert rows(url, "SELECT id FROM orders") == [(2,)]
    assert store.find(InboxQuery())[0].status == "done"


def test_a_handler_that_ends_the_transaction_finishes_nothing(url: str, store: SqlInboxStore) -> None:
    """After a session on the connection has rolled back, the step is refused instead of written without the effect."""
    store.append([arrival()])
    record = claimed(store)

    def handle() -> None:
        with store.transaction() as connection:
            with Session(bind=connection) as session:
                session.add(Order(id=1))
                session.flush()
                session.rollback()
            store.advance(done(record), connection=connection)

    with pytest.raises(StoreError, match="rolled back") as refused:
        handle()
    assert not refused.value.retryable
    assert rows(url, "SELECT id FROM orders") == []
    assert store.find(InboxQuery())[0].status == "pending"


def test_wake_is_part_of_the_transaction(url: str) -> None:
    """The hook is called once with the lanes that have something new; what it writes is committed with the events."""
    calls: list[list[str]] = []

    def wake(connection: Any, lanes: Sequence[str]) -> None:
        calls.append(list(lanes))
        connection.execute(f"INSERT INTO orders (id) VALUES ({len(calls)})")  # noqa: S608 - a number

    with SqlInboxStore.from_url(url) as store:
        store.append([arrival(1, lane="b"), arrival(2, lane="a"), arrival(3, lane="b"), arrival(1, lane="c")], wake)
        store.append([arrival(1), Refusal(endpoint="main", reason="WebhookError", received_at=NOW)], wake)
        store.advance(done(claimed(store, "a"), status="parked", handlers={"h": HandlerState(status="parked")}))
        assert outcomes(store.append([arrival(2)], wake)) == ["requeued"]
    assert calls == [["b", "a"], ["a"]]
    assert rows(url, "SELECT id FROM orders ORDER BY id") == [(1,), (2,)]


def test_without_a_wake_nothing_is_stored(url: str) -> None:
    """When the hook fails, the events are not stored either, and the error holds nothing of what the database said."""

    def wake(connection: Any, _lanes: Sequence[str]) -> None:
        connection.execute(f"INSERT INTO {MARK} VALUES (1)")  # noqa: S608 - a name of ours

    with SqlInboxStore.from_url(url) as store, pytest.raises(StoreError, match="wake the engine") as refused:
        store.append([arrival()], wake)
    assert MARK not in repr(refused.value)
    assert "atom-stripe db upgrade --engine" in str(refused.value)
    assert rows(url, "SELECT count(*) FROM stripe_events") == [(0,)]


def test_a_connection_that_breaks_in_the_commit(postgres: str) -> None:
    """When the connection dies before the answer to COMMIT, the error says that the outcome is unknown; sent again it is stored once."""

    def wake(connection: Any, _lanes: Sequence[str]) -> None:
        if armed:
            armed.clear()
            ended(postgres)

    armed = [True]
    with SqlInboxStore.from_url(postgres) as store:
        with pytest.raises(StoreError, match="not known") as broken:
            store.append([arrival()], wake)
        assert broken.value.retryable
        assert outcomes(store.append([arrival()], wake)) == ["stored"]
    assert rows(postgres, "SELECT count(*) FROM stripe_events") == [(1,)]


def ended(url: str) -> None:
    """End all other sessions in the database, as a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_restart_of_the_server_is_not_noticed(postgres: str) -> None:
    """When connections in the pool have died, the next call of each kind works: nothing was sent on them yet."""
    with SqlInboxStore.from_url(postgres) as store:
        store.append([arrival(1), arrival(2)])
        ended(postgres)
        assert outcomes(store.append([arrival(3)])) == ["stored"]
        ended(postgres)
        record = claimed(store)
        ended(postgres)
        following = store.advance(done(record), 60.0)
        assert isinstance(following, InboxRecord)
        ended(postgres)
        with store.transaction() as connection:
            store.advance(done(following), connection=connection)
        ended(postgres)
        assert [waiting.lane for waiting in store.waiting(0, 10)] == ["lane"]
        assert store.counts().pending == 1


def test_a_restart_during_a_handler(postgres: str) -> None:
    """When the connection dies under a handler, the step fails with a StoreError and the event is still claimed; then it goes on."""
    with SqlInboxStore.from_url(postgres) as store:
        store.append([arrival()])
        record = claimed(store)

        def handle() -> None:
            with store.transaction() as connection:
                ended(postgres)
                store.advance(done(record), connection=connection)

        with pytest.raises(StoreError):
            handle()
        store.advance(done(record))
        assert store.find(InboxQuery())[0].status == "done"


def test_extending_does_not_wait_for_a_handler(postgres: str) -> None:
    """A claim whose step is in an open transaction does not keep the heartbeat of the others waiting."""
    with SqlInboxStore.from_url(postgres) as store:
        store.append([arrival(1, lane="a"), arrival(2, lane="b")])
        first, second = claimed(store, "a", "first"), claimed(store, "b", "second")
        with store.transaction() as connection:
            store.advance(done(first), connection=connection)
            store.extend(["first", "second"], 6000.0)
        still = store.find(InboxQuery(lane="b"))[0].run_until
        assert still is not None
        assert second.run_until is not None
        assert still > second.run_until + 1000


def test_a_transaction_holds_up_the_writers_of_sqlite(sqlite: str) -> None:
    """While a handler has its transaction others wait in line; they are served afterwards, and none of them fails."""
    with SqlInboxStore.from_url(sqlite) as store, ThreadPoolExecutor(8) as threads:
        with store.transaction():
            waiting = [threads.submit(store.append, [arrival(name)]) for name in range(8)]
            time.sleep(0.1)
            assert not any(future.done() for future in waiting)
        assert [outcomes(future.result(PATIENCE)) for future in waiting] == [["stored"]] * 8


def test_who_holds_the_transaction_is_told_at_once(sqlite: str) -> None:
    """A handler that writes through the store while its own transaction is open gets an error instead of waiting for itself."""
    with SqlInboxStore.from_url(sqlite) as store:
        with store.transaction(), pytest.raises(StoreError, match="this thread is in a transaction") as refused:
            store.keep("a", "b")
        assert not refused.value.retryable
        store.keep("a", "b")
        assert store.value("a") == "b"


def test_a_long_transaction_of_sqlite_keeps_its_claim(sqlite: str) -> None:
    """A handler may be longer in its transaction than its lease: nobody could have taken over, so its step is written."""
    with SqlInboxStore.from_url(sqlite) as store:
        store.append([arrival()])
        record = claimed(store, lease=0.2)
        with store.transaction() as connection:
            time.sleep(0.3)
            store.advance(done(record), connection=connection)
        assert store.find(InboxQuery())[0].status == "done"


def test_waiting_in_line_has_an_end(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has stood in line for too long is told so, and leaves the line; those behind are served."""
    with SqlInboxStore.from_url(sqlite) as store, ThreadPoolExecutor(2) as threads:
        with store.transaction():
            monkeypatch.setattr(turns, "_PATIENCE", 0.01)
            with pytest.raises(StoreError, match="somebody else has been writing") as refused:
                threads.submit(store.append, [arrival(1)]).result(PATIENCE)
            monkeypatch.undo()
            behind = threads.submit(store.append, [arrival(2)])
        assert outcomes(behind.result(PATIENCE)) == ["stored"]
        assert refused.value.retryable
        assert [record.event_id for record in store.find(InboxQuery())] == ["evt_2"]


def test_who_shares_a_transaction_fails_alone(sqlite: str) -> None:
    """Writes that were done together do not fail together: the error of one is its own."""
    with SqlInboxStore.from_url(sqlite) as store, ThreadPoolExecutor(8) as threads:
        with store.transaction():
            good = [threads.submit(store.keep, f"name_{number}", "value") for number in range(5)]
            bad = threads.submit(store.keep, "bad", "\ud800")
            entry = AuditEntry(at=NOW, actor="me", action="look", subject="it")
            logged = threads.submit(store.log, entry)
            while len(store._writes._line.waiting) < 8:  # type: ignore[attr-defined]
                time.sleep(0.001)
        assert isinstance(bad.exception(PATIENCE), StoreError)
        assert [future.result(PATIENCE) for future in (*good, logged)] == [None] * 6
        assert [store.value(f"name_{number}") for number in range(5)] == ["value"] * 5
        assert [each for _, each in store.logged(0, 10)] == [entry]


def test_a_change_waits_for_its_turn_and_skips_the_claimed(store: SqlInboxStore) -> None:
    """While changes and claims race for the same events, each event is either changed or claimed."""
    store.append([arrival(name, lane=f"lane_{name}") for name in range(40)])
    ids = [record.id for record in store.find(InboxQuery())]
    ready = Event()

    def claim(name: int) -> int | None:
        ready.wait(PATIENCE)
        record = store.claim(f"lane_{name}", "run", 60.0)
        return record.id if isinstance(record, InboxRecord) else None

    with ThreadPoolExecutor(4) as threads:
        claims = [threads.submit(claim, name) for name in range(40)]
        changes = [
            threads.submit(store.change, ids[n : n + 10], lambda one: replace(one, status="discarded")) for n in (0, 10, 20, 30)
        ]
        ready.set()
        taken = {future.result(PATIENCE) for future in claims} - {None}
        changed = {record.id for future in changes for record in future.result(PATIENCE)}
    assert taken | changed == set(ids)
    assert not taken & changed


def test_a_change_that_raises_changes_nothing(store: SqlInboxStore) -> None:
    """An error of the caller's function comes out as it is, and what was changed before it is undone."""
    store.append([arrival(1), arrival(2, lane="other")])

    def change(record: InboxRecord) -> InboxRecord:
        if record.event_id == "evt_2":
            raise ZeroDivisionError
        return replace(record, status="discarded")

    with pytest.raises(ZeroDivisionError):
        store.change([record.id for record in store.find(InboxQuery())], change)
    assert [record.status for record in store.find(InboxQuery())] == ["pending", "pending"]


def test_purging_shortens_the_log_of_deliveries(url: str, store: SqlInboxStore) -> None:
    """With the payloads go the lines of the log that are as old, and no younger ones."""
    store.append([arrival(1, received_at=NOW - 100), arrival(2)])
    assert store.purge(NOW - 50, 10) == 0
    assert rows(url, "SELECT at FROM stripe_deliveries") == [(NOW,)]


def test_handlers_are_found_by_their_whole_names(store: SqlInboxStore) -> None:
    """A handler's name that is part of another one's, or of an error, finds only its own events."""
    names = ["pay", 're"pay', "pay,pay", "p\u00e4y", "%"]
    store.append([arrival(number, lane=name) for number, name in enumerate(names)])
    for name in names:
        record = claimed(store, name)
        states = {name: HandlerState(status="done", error='"pay":{'), f"also {name}": HandlerState()}
        store.advance(done(record, handlers=states))
    assert [[record.lane for record in store.find(InboxQuery(handler=name))] for name in names] == [[name] for name in names]
    assert store.find(InboxQuery(handler="p")) == []


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claim", "idx_stripe_events_lane"),
        ("claim", "idx_stripe_events_run"),
        ("lane", "idx_stripe_events_lane"),
        ("waiting", "idx_stripe_events_pending"),
        ("counts", "idx_stripe_events_pending"),
        ("counts", "idx_stripe_events_parked"),
        ("counts", "idx_stripe_events_run"),
        ("release", "idx_stripe_events_run"),
    ],
)
def test_what_is_done_costs_nothing(sqlite: str, name: str, index: str) -> None:
    """What runs for each event reads indexes that hold only what is still to be done, and never the whole table."""
    values = dict.fromkeys(("now", "lane", "run", "lease", "after", "limit"), 1)
    with closing(plain(sqlite)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {inbox_statements('sqlite').get(name).sql}", values)]
    assert any(index in step for step in plan)
    assert not [step for step in plan if "stripe_events" in step and "SCAN" in step and "INDEX" not in step]


@pytest.mark.parametrize("statement", ["claim", "waiting"])
def test_what_is_done_costs_nothing_in_postgres(postgres: str, statement: str) -> None:
    """With many events that are done, PostgreSQL too reads only the index of what is still to be done."""
    with closing(plain(postgres)) as connection:
        connection.execute("""
            INSERT INTO stripe_events (event_id, type, account, livemode, lane, endpoint, status, received_at, handlers, attempts)
            SELECT 'evt_' || n, 't', '', false, 'lane', 'main', CASE WHEN n > 19990 THEN 'pending' ELSE 'done' END, n, '{}', 1
            FROM generate_series(1, 20000) AS n
        """)
        connection.execute("ANALYZE stripe_events")
        values = {"lane": "lane", "run": "r", "lease": 1.0, "after": 0, "limit": 10}
        plan = str(connection.execute("EXPLAIN " + inbox_statements("postgresql").get(statement).sql, values).fetchall())
    assert "Seq Scan on stripe_events" not in plan
    assert ("idx_stripe_events_lane" if statement == "claim" else "idx_stripe_events_pending") in plan


def test_payloads_are_not_compressed(postgres: str) -> None:
    """PostgreSQL keeps the bytes outside of the row, as they are."""
    found = rows(
        postgres, "SELECT attstorage FROM pg_attribute WHERE attrelid = 'stripe_event_payloads'::regclass AND attname = 'payload'"
    )
    assert found in ([("e",)], [(b"e",)])


def test_the_migration_keeps_what_was_there(database_url: str) -> None:
    """A database at 0001 with connections in it comes to 0002 while the release before goes on writing."""
    engine = migrated(database_url, "0001")
    with SqlTokenStore(engine, close_engine=True) as tokens:
        record = TokenRecord(id="con_1", user_id="user_1", profile="connect", livemode=False, created_at=NOW, updated_at=NOW)
        assert tokens.save(record)
        with SqlInboxStore.from_url(database_url) as store, pytest.raises(StoreError, match="db upgrade"):
            store.append([arrival()])
        assert upgrade(database_url) == ["0002"]
        assert tokens.load(record.reference) == replace(record, version=1)
        assert tokens.save(replace(record, version=1))
        with SqlInboxStore.from_url(database_url) as store:
            assert outcomes(store.append([arrival()])) == ["stored"]
    assert current(database_url) == "0002"


def migrated(url: str, revision: str) -> Engine:
    """Bring the database to *revision*, and return an engine for it."""
    engine = migrations.engine_from(url)
    script = ScriptDirectory(str(migrations._FOLDER))

    def steps(found: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs(revision, found)

    from alembic.operations import Operations

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrations.VERSION_TABLE, "fn": steps})
        context.run_migrations(operations=Operations(context))
        connection.commit()
    return engine


def test_an_engine_of_yours(url: str) -> None:
    """An engine of the program's own, with its usual transactions, works as well; close() leaves it open."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg" if url.startswith("postgres") else "sqlite"))
    with SqlInboxStore(engine) as store:
        store.append([arrival(1), arrival(2)])
        record = claimed(store)
        with store.transaction() as connection:
            connection.execute(text("INSERT INTO orders (id) VALUES (1)"))
            store.advance(done(record), connection=connection)

        def fail() -> None:
            with store.transaction() as connection:
                connection.execute(text("INSERT INTO orders (id) VALUES (2)"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT id FROM orders")).all() == [(1,)]
    engine.dispose()


def test_other_engines_are_refused() -> None:
    """An engine that is none is refused when the store is made."""
    with pytest.raises(ConfigurationError):
        SqlInboxStore("sqlite:///file.db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_lane_without_events_says_so(store: SqlInboxStore) -> None:
    """Nothing to claim, nothing to wait for."""
    found = store.claim("nobody", "run", 60.0)
    assert isinstance(found, Nothing)
    assert found.due_at is None
