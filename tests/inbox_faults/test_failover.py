"""A PostgreSQL that fails over, is read-only for a while, or sits behind a pooler of transactions."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from atom_stripe.errors import InboxBusyError
from atom_stripe.protocols import InboxQuery
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from tests.inbox_faults.between import Pooler
from tests.inbox_faults.shop import Shop, drain, effect, event, new_inbox, send, send_until_taken, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["postgres", "pgqueuer"])
def server_shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


def read_only(shop: Shop, *, on: bool) -> None:
    """Be the replica that a failover leaves programs with for a moment, or the primary again."""
    name = sql.Identifier(str(conninfo_to_dict(shop.url)["dbname"]))
    with psycopg.connect(shop.url, autocommit=True, options="-c default_transaction_read_only=off") as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(name, sql.Literal(on)))
    shop.end_sessions()


def test_a_database_that_only_reads(server_shop: Shop) -> None:
    """While the database takes no writes Stripe is asked to come back, and the same worker goes on by itself when it takes them again."""
    with server_shop.inbox(workers=2) as inbox:
        inbox.on("*", name="h")(effect)
        send(inbox, event(1))
        read_only(server_shop, on=True)
        with inbox.worker():
            for _ in range(3):
                with pytest.raises(InboxBusyError, match="25006"):
                    send(inbox, event(2))
            assert server_shop.effects() == []
            read_only(server_shop, on=False)
            assert send_until_taken(inbox, event(2)) == "stored"
            wait_for(lambda: len(server_shop.effects()) == 2)
    # What failed before a handler was begun was no attempt of it.
    assert server_shop.effects() == [("evt_1", 1), ("evt_2", 1)]


def test_sessions_that_are_ended_all_the_time(server_shop: Shop) -> None:
    """While an administrator ends every session again and again, nothing is lost, and each event has its effect once."""
    over = threading.Event()

    def end() -> None:
        while not over.wait(0.15):
            server_shop.end_sessions()

    with server_shop.inbox(workers=2) as inbox, ThreadPoolExecutor(6) as senders:
        inbox.on("*", name="h")(effect)
        ending = threading.Thread(target=end)
        with inbox.worker():
            ending.start()
            try:
                events = [event(number, obj=f"cus_{number % 40}") for number in range(200)]
                outcomes = list(senders.map(lambda one: send_until_taken(inbox, one), events))
                time.sleep(0.3)
            finally:
                over.set()
                ending.join()
            wait_for(lambda: not server_shop.rows("SELECT id FROM stripe_events WHERE status <> 'done'"))
    assert {"stored"} <= set(outcomes) <= {"stored", "duplicate"}
    assert sorted(name for name, _ in server_shop.effects()) == sorted(f"evt_{number}" for number in range(200))


@pytest.fixture
def pooler(server_shop: Shop) -> Iterator[Pooler]:
    with Pooler(server_shop.url) as made:
        yield made


def test_each_transaction_in_another_session(server_shop: Shop, pooler: Pooler) -> None:
    """Behind a pooler that gives every transaction another session all events are handled once, and no session keeps anything of ours."""
    before = pooler.states()
    with server_shop.inbox(pooler.url, workers=2, lease=3.0) as inbox, ThreadPoolExecutor(4) as senders:

        def handle(event: Any, context: Any) -> None:
            effect(event, context)
            if context.attempt == 1 and event.id.endswith("0"):
                raise LookupError

        inbox.on("*", name="h")(handle)
        with inbox.worker():
            outcomes = set(senders.map(lambda number: send(inbox, event(number, obj=f"cus_{number % 5}")), range(60)))
            wait_for(lambda: len(server_shop.effects()) == 60)
        done = inbox.operations.select(status="done")
        inbox.operations.replay(done, rate=None, reason="again")
        drain(inbox)
        inbox.pause("h")
        assert inbox.resume("h") == 0
        assert inbox.operations.purge(older_than=timedelta(0)) == 60
        assert len(inbox.store.find(InboxQuery())) == 60
    assert outcomes == {"stored"}
    assert pooler.transactions > 100
    assert pooler.states() == before == {(0, 0, 0, *next(iter(before))[3:])}


def test_an_upgrade_behind_a_pooler(server_shop: Shop, pooler: Pooler) -> None:
    """An upgrade of the tables through a pooler leaves no lock in any session."""
    before = pooler.states()
    assert upgrade(pooler.url) == []
    assert pooler.states() == before


def test_a_transaction_of_a_dead_client_ends_with_it(server_shop: Shop, pooler: Pooler) -> None:
    """A worker that loses its line in the middle of a handler leaves no lock behind a pooler: the next one takes the event, and it has one effect."""
    cut: list[str] = []
    with server_shop.inbox(pooler.url, workers=1, lease=1.0) as inbox:

        def handle(event: Any, context: Any) -> None:
            effect(event, context)
            if not cut:
                cut.append(event.id)
                pooler.cut_all()

        inbox.on("*", name="h")(handle)
        send(inbox, event())
        with inbox.worker():
            wait_for(lambda: server_shop.statuses() == {"evt_1": "done"})
    assert cut == ["evt_1"]
    assert [name for name, _ in server_shop.effects()] == ["evt_1"]


def test_a_pool_that_is_used_up(shop: Shop) -> None:
    """While others of the program hold every connection Stripe is asked to come back; when they give one back, deliveries are taken."""
    from sqlalchemy import create_engine, make_url

    url = make_url(shop.url)
    engine = create_engine(
        url.set(drivername="sqlite" if shop.kind == "sqlite" else "postgresql+psycopg"),
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.05,
    )
    with SqlInboxStore(engine, close_engine=True) as store, new_inbox(store) as inbox:
        with engine.connect(), pytest.raises(InboxBusyError, match="no connection became free"):
            send(inbox, event())
        assert send(inbox, event()) == "stored"


def test_a_table_that_somebody_has_locked(shop: Shop) -> None:
    """While somebody holds a lock on the table, as a change of it does, Stripe is asked to come back in time, and the event is stored once."""
    with shop.inbox(accept_timeout=0.5) as inbox, closing(shop.connect()) as held:
        send_until_taken(inbox, event(1))
        held.execute("BEGIN EXCLUSIVE" if shop.kind == "sqlite" else "LOCK TABLE stripe_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(InboxBusyError):
            send(inbox, event(2))
        held.rollback()
        send_until_taken(inbox, event(2))
    assert list(shop.statuses()) == ["evt_1", "evt_2"]
