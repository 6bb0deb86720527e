"""What a claim, a delivery and a start cost when there is much in the inbox: counted in what the database reads, not in time."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atom_stripe.protocols import InboxRecord, Step
from atom_stripe.stores._sql.inbox_statements import LAST_SQLITE, PRESENT_SQLITE, inbox_statements
from tests.inbox_faults.shop import Shop, event, send, wait_for

if TYPE_CHECKING:
    import sqlite3

FEW, MANY = 1_000, 100_000
# What the rows of a backlog look like: all in one lane, each in its own, and all done but a few.
SHAPES = {
    "one lane": ("'lane'", "'pending'"),
    "a lane each": ("'lane_' || n", "'pending'"),
    "all done": ("'lane'", "CASE WHEN n > {count} - 20 THEN 'pending' ELSE 'done' END"),
}
FILL = """
    INSERT INTO stripe_events (event_id, type, account, livemode, lane, endpoint, status, received_at, handlers, attempts)
    SELECT 'evt_fill_' || n, 't', '', {false}, {lane}, 'main', {status}, n, '{{}}', 1 FROM {numbers}
"""
SQLITE_NUMBERS = (
    "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) SELECT n FROM numbers)"
)


def fill(shop: Shop, shape: str, count: int) -> None:
    lane, status = SHAPES[shape]
    sqlite = shop.kind == "sqlite"
    numbers = (SQLITE_NUMBERS if sqlite else "generate_series(1, {count}) AS n").format(count=count)
    shop.execute(FILL.format(false="0" if sqlite else "false", lane=lane, status=status.format(count=count), numbers=numbers))
    if sqlite:
        return
    with psycopg.connect(shop.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE stripe_events")


def lane_of(shape: str) -> str:
    return "lane_77" if shape == "a lane each" else "lane"


class Steps:
    """Counts what SQLite's machine does, which does not depend on how fast it is."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._count = 0
        connection.set_progress_handler(self._tick, 1)

    def _tick(self) -> int:
        self._count += 1
        return 0

    def of(self, sql: str, values: Any) -> int:
        self._count = 0
        self._connection.execute(sql, values).fetchall()
        return self._count


def sqlite_costs(shop: Shop, shape: str) -> dict[str, int]:
    get = inbox_statements("sqlite").get
    values = {"lane": lane_of(shape), "run": "run", "lease": 60.0, "now": 1e9, "after": 0, "limit": 10}
    with closing(shop.connect()) as connection:
        steps = Steps(connection)
        found = {name: steps.of(get(name).sql, values) for name in ("lane", "waiting", "claim", "release")}
        found["duplicate"] = steps.of(PRESENT_SQLITE, ("", 0, "evt_fill_500"))
        found["last"] = steps.of(LAST_SQLITE, ())
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_backlog_makes_nothing_dearer_in_sqlite(sqlite_shop: Shop, shape: str) -> None:
    """To claim, to look, and to recognize a duplicate take SQLite the same steps with a hundred thousand events as with a thousand."""
    fill(sqlite_shop, shape, FEW)
    before = sqlite_costs(sqlite_shop, shape)
    sqlite_shop.execute("DELETE FROM stripe_events")
    fill(sqlite_shop, shape, MANY)
    after = sqlite_costs(sqlite_shop, shape)
    assert all(after[name] <= before[name] + 10 for name in before), (before, after)
    assert min(before.values()) > 0


def postgres_costs(shop: Shop, shape: str) -> dict[str, int]:
    """Return how many rows and pages each statement touches."""
    get = inbox_statements("postgresql").get
    values = {"lane": lane_of(shape), "run": "run", "lease": 60.0, "after": 0, "limit": 10}
    duplicate = "SELECT id, lane, status FROM stripe_events WHERE account = '' AND NOT livemode AND event_id = 'evt_fill_500'"
    statements = {**{name: get(name).sql for name in ("lane", "waiting", "claim", "release")}, "duplicate": duplicate}
    found = {}
    with psycopg.connect(shop.url) as connection:
        for name, sql in statements.items():
            # Once to have everything at hand.
            for _ in range(2):
                ((plan,),) = connection.execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON) {sql}", values
                ).fetchall()
                connection.rollback()
            top = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
            found[name] = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
            found[f"{name}, rows"] = rows_in(top)
    return found


def rows_in(plan: dict[str, Any]) -> int:
    """Return how many rows the scans in *plan* read."""
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if "Scan" in plan["Node Type"] else 0
    return int(own * plan["Actual Loops"]) + sum(map(rows_in, plan.get("Plans", ())))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_backlog_makes_nothing_dearer_in_postgres(postgres_shop: Shop, shape: str) -> None:
    """To claim, to look, and to recognize a duplicate let PostgreSQL read as many rows with 100,000 events as with 1,000, and few more pages."""
    fill(postgres_shop, shape, FEW)
    before = postgres_costs(postgres_shop, shape)
    postgres_shop.execute("DELETE FROM stripe_events")
    with psycopg.connect(postgres_shop.url, autocommit=True) as connection:
        connection.execute("VACUUM FULL stripe_events")
    fill(postgres_shop, shape, MANY)
    after = postgres_costs(postgres_shop, shape)
    for name, cost in before.items():
        # An index of a hundred times as many rows is a level or two deeper.
        assert after[name] <= cost + (0 if "rows" in name else 20), (name, before, after)


@pytest.mark.parametrize("shape", ["one lane", "a lane each"])
def test_a_backlog_is_found_in_few_looks(shop: Shop, shape: str) -> None:
    """A worker that starts over a hundred thousand pending events reads them in pages, not one by one, and begins with the first."""
    fill(shop, shape, MANY)
    first = threading.Event()
    seen: list[str] = []
    with shop.inbox(workers=1, poll_interval=30.0, sweep_interval=600.0) as inbox:
        store = inbox.store
        looks: list[int] = []
        waiting = store.waiting

        def counted(after: int, limit: int, /) -> Any:
            looks.append(limit)
            return waiting(after, limit)

        store.waiting = counted  # type: ignore[method-assign]
        claim = store.claim

        def claimed(lane: str, run: str, lease: float, /) -> Any:
            found = claim(lane, run, lease)
            seen.append(found.event_id)
            first.set()
            inbox.stop()
            return found

        store.claim = claimed  # type: ignore[method-assign]
        with inbox.worker():
            assert first.wait(60)
            wait_for(lambda: len(looks) >= MANY // 5000 or inbox._core._worker is None)
    assert len(looks) <= MANY // 5000 + 2
    assert seen[0] == "evt_fill_1"


def test_deliveries_behind_a_backlog(shop: Shop) -> None:
    """With a hundred thousand events in one lane, new ones are stored in their order, and those of other lanes are claimed at once."""
    fill(shop, "one lane", MANY)
    with shop.inbox() as inbox:
        send(inbox, event("hot", obj="lane"))
        assert send(inbox, event(1)) == "stored"
        assert send(inbox, event(1)) == "duplicate"
        found = inbox.store.claim("test//cus_1", "run", 60.0)
        assert isinstance(found, InboxRecord)
        assert found.event_id == "evt_1"
        assert inbox.store.advance(Step(id=found.id, run="run", handlers={}, status="done")) is None
        assert inbox.store.counts().pending == MANY + 1
