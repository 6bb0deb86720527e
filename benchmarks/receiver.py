"""
A service with an inbox, as FastAPI's users write it. What differs from run to run is in the environment.

    uvicorn receiver:application
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response

from atom_stripe import AsyncWebhookInbox, WebhookVerifier
from atom_stripe.engines.pgqueuer import PgQueuerEngine
from atom_stripe.errors import InboxBusyError, WebhookError
from atom_stripe.inbox_config import InboxConfig
from atom_stripe.stores.sql import SqlInboxStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_URL = os.environ["BENCHMARK_DATABASE"]
store = SqlInboxStore.from_url(_URL)
inbox = AsyncWebhookInbox(
    WebhookVerifier(os.environ["BENCHMARK_SECRET"]), store, engine=PgQueuerEngine(_URL), config=InboxConfig(writers=2)
)


@asynccontextmanager
async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
    """Close the inbox at the end."""
    async with inbox:
        yield
    store.close()


application = FastAPI(lifespan=lifespan)


@application.post("/stripe/webhook")
async def webhook(request: Request) -> Response:
    """Answer when the event cannot be lost any more."""
    try:
        await inbox.receive(await request.body(), request.headers.get("Stripe-Signature"))
    except WebhookError:
        return Response(status_code=400)
    except InboxBusyError as error:
        return Response(status_code=503, headers={"Retry-After": f"{error.retry_after:.0f}"})
    return Response(status_code=200)
