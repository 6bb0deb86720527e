"""Upgrades of the tables on a bad day: beside live traffic, killed in the middle, twice at once, and behind somebody's lock."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine, inspect, make_url

from atom_stripe.errors import StoreError
from atom_stripe.stores._sql import migrations
from atom_stripe.stores.sql import SqlInboxStore, current, pending, upgrade
from tests.inbox_faults.shop import PATIENCE, Shop, drain, effect, ended, event, send, started, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def empty(request: pytest.FixtureRequest, database_url: str) -> Shop:
    """Return a shop without tables."""
    return Shop("sqlite" if database_url.startswith("sqlite") else "postgres", database_url)


def tables(shop: Shop) -> set[str]:
    url = make_url(shop.url)
    engine = create_engine(url.set(drivername="sqlite" if shop.kind == "sqlite" else "postgresql+psycopg"))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


@pytest.mark.parametrize("statements", [6, 24])
def test_a_killed_upgrade_leaves_nothing_behind(empty: Shop, statements: int) -> None:
    """An upgrade that is killed in the middle has changed nothing, and the next one does all of it."""
    process = started("upgrade_and_die", empty.kind, empty.url)
    assert process.stdin
    process.stdin.write(f"{statements}\n")
    process.stdin.flush()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    ended(process)
    assert tables(empty) == set()
    assert upgrade(empty.url) == ["0001", "0002"]
    assert pending(empty.url) == []
    with empty.inbox() as inbox:
        assert send(inbox, event()) == "stored"


def test_an_upgrade_that_waits_for_one_that_is_killed(empty: Shop) -> None:
    """When the first of two upgrades is killed the second one, which waited for it, does the work."""
    first = started("upgrade_and_die", empty.kind, empty.url)
    assert first.stdin
    second = threading.Thread(target=upgrade, args=(empty.url,))
    first.stdin.write("18\n")
    first.stdin.flush()
    second.start()
    second.join()
    assert first.wait(PATIENCE) in {0, -signal.SIGKILL}
    ended(first)
    assert current(empty.url) == "0002"
    assert pending(empty.url) == []


@pytest.fixture
def other_upgrade(postgres_shop: Shop) -> Iterator[Any]:
    """Hold the lock of an upgrade that does not end."""
    with closing(psycopg.connect(postgres_shop.url)) as held:
        held.execute("SELECT pg_advisory_xact_lock(%s)", (migrations._LOCK,))
        yield held


def test_an_upgrade_gives_up_when_it_is_told_to(postgres_shop: Shop, other_upgrade: Any) -> None:
    """With a lock_timeout in the URL an upgrade does not wait for ever: it fails in words, may be tried again, and has changed nothing."""
    impatient = (
        make_url(postgres_shop.url).update_query_dict({"options": "-c lock_timeout=100"}).render_as_string(hide_password=False)
    )
    postgres_shop.execute("UPDATE stripe_alembic_version SET version_num = '0001'")
    with pytest.raises(StoreError, match="55P03") as refused:
        upgrade(impatient)
    assert refused.value.retryable
    other_upgrade.rollback()
    assert current(impatient) == "0001"


def test_live_traffic_does_not_notice_an_upgrade_that_waits(postgres_shop: Shop, other_upgrade: Any) -> None:
    """While an upgrade waits for its turn events are stored and handled as ever: it holds no lock on any table."""
    waiting = threading.Thread(target=upgrade, args=(postgres_shop.url,))
    waiting.start()
    try:
        wait_for(lambda: postgres_shop.rows("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'") == [(1,)])
        with postgres_shop.inbox() as inbox:
            inbox.on("*", name="h")(effect)
            send(inbox, event())
            drain(inbox)
        assert waiting.is_alive()
    finally:
        other_upgrade.rollback()
        waiting.join()
    assert postgres_shop.effects() == [("evt_1", 1)]


ADDED = {
    "sqlite": [
        "ALTER TABLE stripe_events ADD COLUMN priority INTEGER",
        "ALTER TABLE stripe_deliveries ADD COLUMN region TEXT NOT NULL DEFAULT 'here'",
        "CREATE INDEX idx_stripe_events_priority ON stripe_events (priority)",
        "CREATE TABLE stripe_newer (id INTEGER PRIMARY KEY)",
    ],
    "postgres": [
        "ALTER TABLE stripe_events ADD COLUMN priority INTEGER",
        "ALTER TABLE stripe_deliveries ADD COLUMN region TEXT NOT NULL DEFAULT 'here'",
        "CREATE INDEX idx_stripe_events_priority ON stripe_events (priority)",
        "CREATE TABLE stripe_newer (id INTEGER PRIMARY KEY)",
    ],
}


def test_the_next_release_upgrades_beside_this_one(shop: Shop) -> None:
    """While a newer release adds columns, an index and a table, and writes states with more in them, this one goes on: nothing is lost or doubled."""
    numbers = range(150)
    with shop.inbox(workers=2, accept_timeout=PATIENCE) as inbox, ThreadPoolExecutor(4) as senders:

        def handle(event: Any, context: Any) -> None:
            effect(event, context)

        inbox.on("*", name="h")(handle)
        with inbox.worker():
            futures = [senders.submit(send, inbox, event(number, obj=f"cus_{number % 7}")) for number in numbers]
            for statement in ADDED[shop.kind]:
                shop.execute(statement)
            outcomes = {future.result(PATIENCE) for future in futures}
            # A row as the newer release leaves it.
            shop.execute(
                "INSERT INTO stripe_events (event_id, type, account, livemode, lane, endpoint, status, received_at, handlers, attempts, priority)"
                " SELECT 'evt_newer', type, account, livemode, lane, endpoint, 'pending', received_at,"
                ' \'{"other":{"status":"done","attempts":1,"colour":"blue"}}\', 0, 7 FROM stripe_events WHERE event_id = \'evt_0\'',
                "INSERT INTO stripe_event_payloads (id, payload) SELECT e.id, p.payload FROM stripe_events e, stripe_event_payloads p,"
                " stripe_events f WHERE e.event_id = 'evt_newer' AND f.event_id = 'evt_0' AND p.id = f.id",
            )
            wait_for(lambda: shop.rows("SELECT status FROM stripe_events WHERE event_id = 'evt_newer'") == [("done",)])
            wait_for(lambda: not inbox.store.waiting(0, 1))
    assert outcomes == {"stored"}
    # The newer row holds the bytes of the first event.
    assert sorted(name for name, _ in shop.effects()) == sorted([f"evt_{number}" for number in numbers] + ["evt_0"])
    assert shop.rows("SELECT priority FROM stripe_events WHERE event_id = 'evt_newer'") == [(7,)]


def test_deliveries_before_the_upgrade_come_again(empty: Shop) -> None:
    """A release that runs before its upgrade takes no delivery and says what to do; after the upgrade the same process takes them."""
    from atom_stripe.errors import InboxBusyError

    with SqlInboxStore.from_url(empty.url) as store:
        from tests.inbox_faults.shop import new_inbox

        with new_inbox(store) as inbox:
            for _ in range(2):
                with pytest.raises(InboxBusyError, match="db upgrade"):
                    send(inbox, event())
            upgrade(empty.url)
            assert send(inbox, event()) == "stored"


def test_a_reader_of_the_state_does_not_hold_up_an_upgrade(shop: Shop) -> None:
    """A long read of the inbox's tables, such as a backup, keeps neither an upgrade nor a delivery from its work."""
    with closing(shop.connect()) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM stripe_events").fetchall()
        assert upgrade(shop.url) == []
        with shop.inbox() as inbox:
            assert send(inbox, event()) == "stored"
        reader.rollback()
