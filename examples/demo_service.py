"""
The service of ``make demo``: the routes of ``create_router`` around an inbox, connections and a ledger in one SQLite file.

The worker that handles the inbox's events is a process of its own: ``atom-stripe worker demo_worker:inbox``.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import FastAPI, Request, Response
from sqlalchemy import text

from atom_stripe import AsyncOAuthManager, AsyncStripeClient, AsyncWebhookInbox, WebhookVerifier
from atom_stripe.contrib.fastapi import BearerTokens, create_router
from atom_stripe.inbox import InboxConfig
from atom_stripe.metrics import PrometheusMetrics
from atom_stripe.service import Problem
from atom_stripe.stores.sql import AsyncSqlTokenStore, SqlInboxStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atom_stripe import Event, OAuthConfig
    from atom_stripe.inbox import AsyncHandlerContext
    from atom_stripe.metrics import Metrics

API = "/api/v1/stripe"
# Seconds that a handler takes here, as if it asked another service. Long enough to be killed in the middle of.
WORK = 0.15
# Seconds after which the events of a worker that died go to another. 30 by default: nobody wants to wait for that in a demo.
LEASE = 4.0
# Nothing in this table forbids an event to be in it twice: if it happened, it would be seen.
TABLE = """
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT, type TEXT, lane TEXT, place INTEGER, amount INTEGER, attempt INTEGER, worker INTEGER
)
"""
ENTRY = text(
    "INSERT INTO ledger (event, type, lane, place, amount, attempt, worker)"
    " VALUES (:event, :type, :lane, :place, :amount, :attempt, :worker)"
)


def amount_of(event: Event) -> int:
    """Return what came in with *event*, in the smallest unit; below 0, what went out."""
    about = event.data.object
    if event.type == "payment_intent.succeeded":
        return int(about.amount_received)
    return -int(about.amount) if event.type == "refund.created" else 0


def entry_of(event: Event, context: AsyncHandlerContext, worker: int) -> dict[str, Any]:
    """Return what the ledger says of *event*. *worker*: the id of the process that handles it."""
    record = context.event_record
    return {
        "event": event.id,
        "type": event.type,
        "lane": record.lane,
        "place": record.id,
        "amount": amount_of(event),
        "attempt": context.attempt,
        "worker": worker,
    }


def make_inbox(store: SqlInboxStore, webhook_secret: str, *, metrics: Metrics | None = None) -> AsyncWebhookInbox:
    """Return the inbox, for the service and for the worker."""
    config = InboxConfig(lease=LEASE, poll_interval=0.1, sweep_interval=1.0)
    inbox = AsyncWebhookInbox(WebhookVerifier(webhook_secret), store, config=config, metrics=metrics)

    @inbox.on("*", name="demo.ledger")
    async def enter(event: Event, context: AsyncHandlerContext) -> None:
        await anyio.sleep(WORK)
        # In the transaction in which the inbox notes that this is done: both happen, or neither.
        await context.connection.execute(ENTRY, entry_of(event, context, os.getpid()))

    return inbox


async def refused(_request: Request, problem: Problem) -> Response:
    """Say to whom a token gives no right that it does not."""
    answer = problem.answer()
    return Response(answer.body, answer.status, answer.all_headers, answer.media_type)


def create_app(oauth_config: OAuthConfig, database: str, webhook_secret: str, tokens: BearerTokens) -> FastAPI:
    """Return the service. It stores events and handles none. *database*: its URL."""
    metrics = PrometheusMetrics()
    connections, events = AsyncSqlTokenStore.from_url(database), SqlInboxStore.from_url(database)
    oauth = AsyncOAuthManager(oauth_config, connections, metrics=metrics)
    client = AsyncStripeClient(config=oauth_config.stripe, oauth=oauth)
    inbox = make_inbox(events, webhook_secret, metrics=metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        # Closed from the right to the left.
        with events:
            async with connections, oauth, client, inbox:
                yield

    app = FastAPI(
        title="The demo's service", lifespan=lifespan, docs_url=None, redoc_url=None, exception_handlers={Problem: refused}
    )
    router = create_router(
        client=client,
        oauth=oauth,
        inbox=inbox,
        authorize=tokens.authorize(platform_only=False),
        authorize_operator=tokens.authorize_operator(),
        metrics=metrics,
    )
    app.include_router(router, prefix=API)
    return app
