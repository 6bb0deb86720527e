"""
A worker in a process of its own, and the database in which it leaves its traces.

Run as ``python -m tests.engines.worker ENGINE URL``: it handles the events of the inbox at URL until its input ends or it is killed. Each event's
effect is written in the transaction that finishes it, so that an effect is there once or the promise is broken.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import psycopg

from atom_stripe import API_VERSION
from atom_stripe.inbox import HandlerRetry, InboxConfig, WebhookInbox
from atom_stripe.protocols import Arrival
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG = InboxConfig(
    workers=4, lease=4.0, sweep_interval=1.0, grace=10.0, retry=HandlerRetry(attempts=50, initial_delay=0.1, max_delay=0.5)
)

TABLES = """
CREATE TABLE effects (seq bigserial PRIMARY KEY, event bigint NOT NULL, lane text NOT NULL, worker text NOT NULL);
CREATE TABLE clashes (lane text NOT NULL)
"""


def new_engine(name: str, url: str) -> Any:
    if name == "pgqueuer":
        from atom_stripe.engines.pgqueuer import PgQueuerEngine

        return PgQueuerEngine(url)
    from atom_stripe.engines.procrastinate import ProcrastinateEngine

    return ProcrastinateEngine(url)


def arrivals(lanes: Iterable[str]) -> list[Arrival]:
    made = []
    for lane in lanes:
        id_ = f"evt_{uuid.uuid4().hex}"
        event = {
            "id": id_,
            "object": "event",
            "api_version": API_VERSION,
            "created": 1_790_000_000,
            "data": {"object": {"id": lane, "object": "invoice"}},
            "livemode": False,
            "pending_webhooks": 1,
            "type": "invoice.paid",
        }
        made.append(
            Arrival(
                event_id=id_,
                type="invoice.paid",
                account="",
                livemode=False,
                lane=lane,
                payload=json.dumps(event).encode(),
                endpoint="test",
                received_at=time.time(),
                api_version=API_VERSION,
            )
        )
    return made


def inbox_with(engine: Any, store: SqlInboxStore, worker: str, config: InboxConfig = CONFIG) -> WebhookInbox:
    """Return an inbox whose handler leaves an effect for each event."""
    inbox = WebhookInbox(WebhookVerifier(WEBHOOK_SECRET), store, engine=engine, config=config)

    @inbox.on("*", name="effect")
    def effect(event: Any, context: Any) -> None:
        execute = context.connection.exec_driver_sql
        lane = event.data.object.id
        # Held until the end of the transaction: whoever is at work on the same lane meanwhile does not get it.
        if not execute("SELECT pg_try_advisory_xact_lock(77, hashtext(%s))", (lane,)).scalar():
            execute("INSERT INTO clashes VALUES (%s)", (lane,))
        execute(
            "INSERT INTO effects (event, lane, worker) SELECT id, lane, %s FROM stripe_events WHERE event_id = %s",
            (worker, event.id),
        )

    return inbox


def main(name: str, url: str) -> None:
    logging.basicConfig(level=logging.ERROR)
    with SqlInboxStore.from_url(url) as store:
        inbox = inbox_with(new_engine(name, url), store, uuid.uuid4().hex)

        def wait() -> None:
            sys.stdin.read()
            inbox.stop()

        threading.Thread(target=wait, daemon=True).start()
        inbox.run_worker()


def report(url: str) -> dict[str, Any]:
    """Return what the effects say: how many, doubled, out of order within their lane, overlapping, by how many workers."""
    with psycopg.connect(url) as connection:
        row = connection.execute("""
            SELECT count(*), count(*) - count(DISTINCT event), count(DISTINCT worker),
                   (SELECT count(*) FROM (SELECT event < lag(event) OVER (PARTITION BY lane ORDER BY seq) AS late FROM effects) WHERE late),
                   (SELECT count(*) FROM clashes)
            FROM effects""").fetchone()
    return dict(zip(("effects", "doubled", "workers", "disordered", "overlaps"), row or (), strict=True))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
