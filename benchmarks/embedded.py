"""The inbox on one machine: from a delivery to its handler's effect, both in one SQLite file, against bare inserts into another."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep, time
from typing import TYPE_CHECKING, Any

from deliveries import EVENTS, SECRET, Deliveries
from harness import Effort, Figures, Row, benchmark, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deliveries import Delivery

    from atom_stripe import WebhookInbox

_SENDERS = 16
_BATCH = 50
_TABLE = """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, lane TEXT NOT NULL, received_at REAL NOT NULL,
        payload BLOB NOT NULL
    )
"""
_INSERT = "INSERT INTO events (event_id, type, lane, received_at, payload) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_EFFECTS = "CREATE TABLE effects (event_id TEXT NOT NULL, invoice TEXT NOT NULL, amount INTEGER NOT NULL)"
_EFFECT = "INSERT INTO effects VALUES (?, ?, ?)"


@benchmark(
    Row(
        name="embedded_vs_floor",
        what="On SQLite from stored to handled, against inserts in batches of 50",
        better="higher",
        target=0.3,
    ),
    Row(
        name="embedded_received_vs_floor",
        what="From a delivery to its end, received and handled at the same time, against the same",
        better="higher",
    ),
    Row(
        name="embedded_effect_vs_floor",
        what="From stored to handled, with an effect in the event's transaction, against the same",
        better="higher",
    ),
)
def embedded(effort: Effort) -> dict[str, Figures]:
    """The floor writes the same bytes and waits for the disk once for 50 of them. Ours claims, handles, and notes it, for each event."""
    deliveries, count = Deliveries(), effort.of(3000, 1000)
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        floor = stack.enter_context(_floor(folders[0]))
        plain = stack.enter_context(inbox(folders[0], effect=False))
        writing = stack.enter_context(inbox(folders[1], effect=True))

        def stored() -> float:
            return handled(plain, deliveries.take(count), stored_before=True)

        def received() -> float:
            return handled(plain, deliveries.take(count))

        def effect() -> float:
            return handled(writing, deliveries.take(count), stored_before=True)

        def theirs() -> float:
            return floor(deliveries.take(count))

        runs = {"stored": stored, "received": received, "effect": effect, "floor": theirs}
        for warm in runs.values():
            warm()
        taken = in_turns(runs, effort.of(7, 3))
        for folder, effects in zip(folders, (False, True), strict=True):
            _check(folder, effects=effects)
    return {
        "embedded_vs_floor": Figures(EVENTS, taken["stored"], taken["floor"]),
        "embedded_received_vs_floor": Figures(EVENTS, taken["received"], taken["floor"]),
        "embedded_effect_vs_floor": Figures(EVENTS, taken["effect"], taken["floor"]),
    }


@contextmanager
def inbox(folder: Path, *, effect: bool) -> Iterator[WebhookInbox]:
    """Yield an inbox in a file in *folder*, with a handler that sums amounts up, or with *effect* writes a row for each event."""
    from atom_stripe import HandlerContext, WebhookInbox, WebhookVerifier
    from atom_stripe.stores.sql import SqlInboxStore, upgrade

    url = f"sqlite:///{folder / 'inbox.db'}"
    upgrade(url)
    with closing(sqlite3.connect(folder / "inbox.db")) as connection:
        connection.execute(_EFFECTS)
    with SqlInboxStore.from_url(url) as store, WebhookInbox(WebhookVerifier(SECRET), store) as made:
        paid: Counter[str] = Counter()

        @made.on("invoice.paid", name="book")
        def book(event: Any, context: HandlerContext) -> None:
            invoice = event.data.object
            if effect:
                context.connection.exec_driver_sql(_EFFECT, (event.id, invoice.id, invoice.amount_paid))
            else:
                paid[invoice.id] += invoice.amount_paid

        yield made


def handled(inbox: WebhookInbox, deliveries: Sequence[Delivery], *, stored_before: bool = False) -> float:
    """Return how many of *deliveries* are handled in a second, with their way into the inbox or, *stored_before*, without it."""
    if stored_before:
        send(inbox.receive, deliveries)
    before = inbox.counts.get("handled", 0)
    with inbox.worker():
        start = perf_counter()
        if not stored_before:
            send(inbox.receive, deliveries)
        while inbox.counts.get("handled", 0) < before + len(deliveries) or inbox.store.counts().pending:
            sleep(0.002)
        return len(deliveries) / (perf_counter() - start)


def send(receive: Callable[[bytes, str], object], deliveries: Sequence[Delivery], senders: int = _SENDERS) -> None:
    """Have *senders* threads give *deliveries* to *receive*."""

    def work(part: Sequence[Delivery]) -> None:
        for body, signature in part:
            receive(body, signature)

    threads = [Thread(target=work, args=(deliveries[number::senders],)) for number in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def _floor(folder: Path) -> Iterator[Callable[[Sequence[Delivery]], float]]:
    """Yield what stores deliveries in batches, and returns how many it stores in a second."""
    with closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLE)
        number = 0

        def store(deliveries: Sequence[Delivery]) -> float:
            nonlocal number
            now, rows = time(), []
            for body, _ in deliveries:
                number += 1
                rows.append((f"evt_{number:024d}", "invoice.paid", f"sub_{number % 500:024d}", now, body))
            start = perf_counter()
            for first in range(0, len(rows), _BATCH):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(_INSERT, rows[first : first + _BATCH])
                connection.execute("COMMIT")
            return len(rows) / (perf_counter() - start)

        yield store


def _check(folder: Path, *, effects: bool) -> None:
    """Raise an error unless every event is done and had its effect once, if it has *effects*."""
    with closing(sqlite3.connect(folder / "inbox.db")) as connection:
        [states] = connection.execute("SELECT count(*), sum(status = 'done') FROM stripe_events")
        [found] = connection.execute("SELECT count(*), count(DISTINCT event_id) FROM effects")
    wanted = states[0] if effects else 0
    if states[1] != states[0] or found != (wanted, wanted):
        raise RuntimeError(f"{states[1]} of {states[0]} events are done, with {found[0]} effects for {found[1]} of them")
