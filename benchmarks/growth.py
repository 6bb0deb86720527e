"""What a full inbox costs: the same work beside a million stored events and beside a thousand, and a start with much to do."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from threading import Event
from time import perf_counter, sleep, time
from typing import TYPE_CHECKING, Any

import deliveries
from harness import MICROSECONDS, Effort, Figures, Row, Unit, benchmark, in_turns
from ingest import database, postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atom_stripe.protocols import Arrival
    from atom_stripe.stores.sql import SqlInboxStore

_SECONDS = Unit("s")
_FEW, _MANY = 1000, 1_000_000
_ROUND = 150  # events
_BATCH = 50
_LANES = 50  # that a round has events of
_LEASE = 30.0
_RUN = "0" * 32
_PENDING, _PENDING_LANES = 100_000, 20_000
_LONGEST_START = 10.0  # seconds

# Ids in no order, as Stripe's are. What was stored long ago has no payload any more.
_FILL = """
    INSERT INTO stripe_events (
        event_id, type, account, livemode, lane, endpoint, status, received_at, created, object_id, handlers, attempts, finished_at
    )
    SELECT 'evt_' || {random}, 'invoice.paid', '', {false}, 'test//sub_' || (n % 50000), 'default', 'done', 1.79e9 + n, 1.79e9 + n, 'in_' || n,
        '{{"book":{{"status":"done","attempts":1,"finished_at":1.79e9}}}}', 1, 1.79e9 + n
    FROM {numbers}
"""
_FILL_DELIVERIES = (
    "INSERT INTO stripe_deliveries (at, endpoint, outcome, event) SELECT received_at, endpoint, 'stored', id FROM stripe_events"
)
_RANDOM_SQLITE = "substr(hex(randomblob(12)), 1, 24)"
_RANDOM_POSTGRES = "left(md5(random()::text || n), 24)"
_NUMBERS_SQLITE = "(WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < {}) SELECT n FROM count)"
_NUMBERS_POSTGRES = "generate_series(1, {}) AS count(n)"

_WAITING = """
    INSERT INTO stripe_events (event_id, type, account, livemode, lane, endpoint, status, received_at, handlers, attempts)
    SELECT 'evt_' || n, 'invoice.paid', '', 0, 'test//sub_' || ((n - 1) / {}), 'default', 'pending', 1.79e9 + n, '{{}}', 0 FROM {}
"""
_WAITING_PAYLOADS = """
    INSERT INTO stripe_event_payloads (id, payload)
    SELECT id, CAST('{"id":"' || event_id || '","object":"event","type":"invoice.paid","data":{"object":{"id":"in_1"}}}' AS BLOB) FROM stripe_events
"""


@benchmark(
    Row(
        name="cost_1m_vs_1k",
        what="On SQLite store, claim, finish and recognize an event, with a million stored ones, against a thousand",
        better="lower",
        target=1.3,
    )
)
def on_sqlite(effort: Effort) -> dict[str, Figures]:
    """Each step waits for the disk: a commit for 50 that are stored, or stored again, and one for each that is finished."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stored = effort.of(_MANY, _MANY // 10)
        few, many = (stack.enter_context(_sqlite(Path(folder) / f"{count}.db", count)) for count in (_FEW, stored))
        return {"cost_1m_vs_1k": _compared(few, many, effort, stored)}


@benchmark(Row(name="cost_1m_vs_1k_pg", what="The same on PostgreSQL", better="lower", target=1.3))
def on_postgresql(effort: Effort) -> dict[str, Figures]:
    """The same steps."""
    with postgres() as server, ExitStack() as stack:
        stored = effort.of(_MANY, _MANY // 10)
        few, many = (stack.enter_context(_postgresql(server, count)) for count in (_FEW, stored))
        return {"cost_1m_vs_1k_pg": _compared(few, many, effort, stored)}


@benchmark(
    Row(
        name="start_100k_pending",
        what="From the start of a worker until all lanes of 100,000 pending events stand in line, against the limit",
        better="lower",
        target=1.0,
    )
)
def start(effort: Effort) -> dict[str, Figures]:
    """The handlers wait meanwhile, so that no lane leaves the line."""
    rounds = [_started() for _ in range(effort.of(5, 2))]
    first = min(began for began, _ in rounds)
    more = {"lanes": _PENDING_LANES, "the first handler ran after s": round(first, 3)}
    return {"start_100k_pending": Figures(_SECONDS, [ended for _, ended in rounds], [_LONGEST_START] * len(rounds), more)}


def _started() -> tuple[float, float]:
    """Return the seconds until the first handler ran, and until the last lane stood in line."""
    from atom_stripe import WebhookInbox, WebhookVerifier

    with tempfile.TemporaryDirectory() as folder, _sqlite(Path(folder) / "inbox.db", 0) as store:
        with closing(sqlite3.connect(Path(folder) / "inbox.db")) as connection:
            connection.execute(_WAITING.format(_PENDING // _PENDING_LANES, _NUMBERS_SQLITE.format(_PENDING)))
            connection.execute(_WAITING_PAYLOADS)
            connection.commit()
        called, go_on = Event(), Event()
        with WebhookInbox(WebhookVerifier(deliveries.SECRET), store) as inbox:

            @inbox.on("*", name="wait")
            def wait(_event: object, _context: object) -> None:
                called.set()
                go_on.wait()

            begin = perf_counter()
            with inbox.worker():
                scheduler: Any = inbox._core._worker.scheduler  # type: ignore[union-attr]  # noqa: SLF001 - nobody else needs to know
                called.wait()
                first = perf_counter() - begin
                while len(scheduler) < _PENDING_LANES:
                    sleep(0.002)
                last = perf_counter() - begin
                inbox.stop()
                go_on.set()
        return first, last


@contextmanager
def _sqlite(path: Path, count: int) -> Iterator[SqlInboxStore]:
    """Yield a store in *path* in which *count* events are done."""
    from atom_stripe.stores.sql import SqlInboxStore, upgrade

    upgrade(f"sqlite:///{path}")
    if count:
        with closing(sqlite3.connect(path)) as connection:
            # Nothing of this is measured.
            for setting in ("synchronous = OFF", "cache_size = -400000"):
                connection.execute(f"PRAGMA {setting}")
            numbers = _NUMBERS_SQLITE.format(count)
            connection.execute(_FILL.format(random=_RANDOM_SQLITE, false="0", numbers=numbers))
            connection.execute(_FILL_DELIVERIES)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with SqlInboxStore.from_url(f"sqlite:///{path}") as store:
        yield store


@contextmanager
def _postgresql(server: str, count: int) -> Iterator[SqlInboxStore]:
    """Yield a store in a database of its own in which *count* events are done."""
    import psycopg

    from atom_stripe.stores.sql import SqlInboxStore, upgrade

    with database(server) as url:
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            numbers = _NUMBERS_POSTGRES.format(count)
            connection.execute(_FILL.format(random=_RANDOM_POSTGRES, false="false", numbers=numbers).encode())
            connection.execute(_FILL_DELIVERIES)
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        with SqlInboxStore.from_url(url) as store:
            yield store


def _compared(few: SqlInboxStore, many: SqlInboxStore, effort: Effort, stored: int) -> Figures:
    """Return what an event costs in *many*, against *few*."""
    numbers = {"few": 0, "many": 0}

    def turn(name: str, store: SqlInboxStore) -> Callable[[], tuple[float, float, float]]:
        def measured() -> tuple[float, float, float]:
            numbers[name] += _ROUND
            return _costs(store, numbers[name])

        return measured

    turns = {"few": turn("few", few), "many": turn("many", many)}
    for one in turns.values():
        one()
    taken = in_turns(turns, effort.of(15, 5))
    more: dict[str, str | float] = {"stored": stored}
    for place, step in enumerate(("store", "claim and finish", "recognize")):
        ours, theirs = (median(round_[place] for round_ in taken[name]) for name in ("many", "few"))
        more[f"{step} in µs"] = round(ours * 1e6)
        more[f"{step} beside a thousand in µs"] = round(theirs * 1e6)
    return Figures(MICROSECONDS, [sum(round_) for round_ in taken["many"]], [sum(round_) for round_ in taken["few"]], more)


def _costs(store: SqlInboxStore, first: int) -> tuple[float, float, float]:
    """Return the seconds for each of some events that it takes to store it, to claim and finish it, and to see that it was there before."""
    from atom_stripe.protocols import HandlerState, InboxRecord, Step

    arrivals = [_arrival(number) for number in range(first, first + _ROUND)]
    begin = perf_counter()
    for start in range(0, _ROUND, _BATCH):
        store.append(arrivals[start : start + _BATCH])
    stored = perf_counter()
    for number in range(_LANES):
        found: Any = store.claim(f"test//sub_{number}", _RUN, _LEASE)
        while isinstance(found, InboxRecord):
            handlers = {"book": HandlerState(status="done", attempts=1, finished_at=time())}
            found = store.advance(Step(id=found.id, run=_RUN, handlers=handlers, status="done"), _LEASE)
    finished = perf_counter()
    for start in range(0, _ROUND, _BATCH):
        if any(answer.outcome != "duplicate" for answer in store.append(arrivals[start : start + _BATCH])):  # type: ignore[union-attr]
            raise RuntimeError("an event was not recognized")
    recognized = perf_counter()
    if store.counts().pending:
        raise RuntimeError("events are left over")
    return (stored - begin) / _ROUND, (finished - stored) / _ROUND, (recognized - finished) / _ROUND


def _arrival(number: int) -> Arrival:
    from atom_stripe.protocols import Arrival

    return Arrival(
        event_id=deliveries.event_id(number),
        type="invoice.paid",
        account="",
        livemode=False,
        lane=f"test//sub_{number % _LANES}",
        payload=deliveries.body(number),
        endpoint="default",
        received_at=time(),
        created=1.79e9,
        object_id=f"in_{number}",
    )
