"""What these tests share: a shop's database with an inbox in it, events as Stripe signs them, and inboxes that are impatient."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import psycopg
from sqlalchemy import text

from atom_stripe import API_VERSION
from atom_stripe._wire.signature import signature_header
from atom_stripe.errors import InboxBusyError
from atom_stripe.inbox import HandlerRetry, InboxConfig, WebhookInbox
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

# Only reached when something is broken.
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]
AT_ONCE = HandlerRetry(attempts=5, initial_delay=0.0, max_delay=0.0)
EFFECT = text("INSERT INTO effects (event, attempt) VALUES (:event, :attempt)")


class Waking(SqlInboxStore):
    """A store of which the inboxes have an engine each."""

    engine_url = ""


@dataclass
class Shop:
    """*kind*: sqlite, postgres, or pgqueuer: a PostgreSQL in which events wake an engine. *engine*: that one, or ``None``."""

    kind: str
    url: str
    engine: Any = None

    def open(self, url: str | None = None) -> SqlInboxStore:
        if self.engine is None:
            return SqlInboxStore.from_url(url or self.url)
        store = Waking.from_url(url or self.url)
        store.engine_url = self.url
        return store

    @contextmanager
    def inbox(self, url: str | None = None, **config: Any) -> Generator[WebhookInbox]:
        """Yield an inbox with a store of its own, without handlers."""
        with self.open(url) as store, new_inbox(store, **config) as inbox:
            yield inbox

    def connect(self) -> Any:
        """Return a connection of the driver's, past everything."""
        return psycopg.connect(self.url) if self.url.startswith("postgres") else sqlite3.connect(self.file)

    @property
    def file(self) -> str:
        return self.url.removeprefix("sqlite:///")

    def rows(self, sql: str) -> list[Any]:
        with closing(self.connect()) as connection:
            return list(connection.execute(sql).fetchall())

    def execute(self, *statements: str) -> None:
        with closing(self.connect()) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def effects(self) -> list[tuple[str, int]]:
        return [tuple(row) for row in self.rows("SELECT event, attempt FROM effects ORDER BY event, attempt")]

    def statuses(self) -> dict[str, str]:
        return dict(self.rows("SELECT event_id, status FROM stripe_events ORDER BY id"))

    def jobs(self) -> int:
        """Return how many jobs wait for the engine."""
        ((count,),) = self.rows("SELECT count(*) FROM stripe_pgqueuer")
        return int(count)

    def end_sessions(self) -> None:
        """End all other sessions of the database, as a failover does."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def new_inbox(store: Any, *, secrets: Any = WEBHOOK_SECRET, verifier: Any = None, kind: Any = WebhookInbox, **options: Any) -> Any:
    """Return an inbox that is impatient where the defaults are patient."""
    others = {name: options.pop(name) for name in ("lane", "clock", "metrics", "client", "engine") if name in options}
    settings = {"retry": AT_ONCE, "workers": 3, "poll_interval": 0.05, "sweep_interval": 0.5, "grace": 5.0, **options}
    if isinstance(store, Waking):
        others.setdefault("engine", new_engine(store.engine_url))
    return kind(verifier or WebhookVerifier(secrets), store, config=InboxConfig(**settings), **others)


def new_engine(url: str) -> Any:
    from atom_stripe.engines.pgqueuer import PgQueuerEngine

    return PgQueuerEngine(url)


def event(id: object = 1, *, obj: str = "cus_1", type: str = "customer.updated", **fields: Any) -> dict[str, Any]:
    """Return a snapshot event in Stripe's shape, about the object called *obj*."""
    return {
        "id": f"evt_{id}",
        "object": "event",
        "api_version": API_VERSION,
        "created": 1_790_000_000,
        "data": {"object": {"id": obj, "object": "customer"}},
        "livemode": False,
        "pending_webhooks": 1,
        "type": type,
        **fields,
    }


def raw(of: dict[str, Any] | bytes) -> bytes:
    return of if isinstance(of, bytes) else json.dumps(of).encode()


def signed(body: bytes, *secrets: str, at: float | None = None) -> str:
    return signature_header(body, secrets or (WEBHOOK_SECRET,), int(time.time() if at is None else at))


def send(inbox: Any, of: dict[str, Any] | bytes, **options: Any) -> str:
    """Deliver one event, signed, and return what became of it."""
    body = raw(of)
    outcome: str = inbox.receive(body, signed(body), **options).outcome
    return outcome


def send_until_taken(inbox: Any, of: dict[str, Any] | bytes) -> str:
    """Deliver one event as Stripe does: again, until it was taken."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return send(inbox, of)
        except InboxBusyError:
            assert time.monotonic() < until, "it was never taken"
            time.sleep(0.01)


def effect(event: Any, context: Any) -> None:
    """Handle an event: leave an effect in the transaction that finishes it."""
    context.connection.execute(EFFECT, {"event": event.id, "attempt": context.attempt})


def drain(inbox: Any) -> None:
    """Run the worker until nothing is pending."""
    with inbox.worker():
        wait_for(lambda: not inbox.store.waiting(0, 1))


async def all_handled(store: Any) -> None:
    """Wait until nothing is pending, in an event loop."""
    with anyio.fail_after(PATIENCE):
        while await anyio.to_thread.run_sync(store.waiting, 0, 1):  # noqa: ASYNC110 - what is waited for happens in threads
            await anyio.sleep(0.01)


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start one of the programs of ``worker.py``."""
    command = [sys.executable, "-m", "tests.inbox_faults.worker", program, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def reported(process: subprocess.Popen[str]) -> Any:
    """Return the next line of a program, which is JSON."""
    assert process.stdout
    line = process.stdout.readline()
    assert line, f"the program ended with {process.wait()}"
    return json.loads(line)


def ended(process: subprocess.Popen[str]) -> int:
    """Tell a program to end; returns its exit code."""
    with process:
        if process.stdin:
            process.stdin.close()
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()
