"""
Four services with the same work, as FastAPI's users write them. What differs from run to run is in the environment.

    uvicorn routes_app:application
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from atom_stripe import AsyncStripeClient, AsyncWebhookInbox, RateLimits, StripeConfig, WebhookVerifier
from atom_stripe.contrib.fastapi import ServiceConfig, create_router
from atom_stripe.stores.sql import SqlInboxStore

_KEY = "sk_test_000000000000000000000000"
_PREFIX = "/api/v1/stripe"
application = FastAPI()


def _stripe() -> AsyncStripeClient:
    # Our rate limiter is off, as in the other benchmarks: the sandbox is not Stripe.
    settings: dict[str, Any] = {"transport": "fast", "rate_limits": RateLimits.NONE, "api_base": os.environ["BENCHMARK_STRIPE"]}
    return AsyncStripeClient(config=StripeConfig(api_key=SecretStr(_KEY), **settings))


def _inbox() -> AsyncWebhookInbox:
    store = SqlInboxStore.from_url(os.environ["BENCHMARK_DATABASE"])
    return AsyncWebhookInbox(WebhookVerifier(os.environ["BENCHMARK_SECRET"]), store)


async def _authorize(request: Request) -> str | None:
    return request.headers.get("x-user")


def _router(**parts: Any) -> None:
    # Limits are on, with the counting that they cost, and high enough for the poster.
    config = ServiceConfig(caller_limit="100000000/minute")
    application.include_router(create_router(**parts, config=config), prefix=_PREFIX)


if (_KIND := os.environ["BENCHMARK_KIND"]) == "router":
    _router(client=_stripe(), authorize=_authorize)
elif _KIND == "handwritten":
    _client = _stripe()

    @application.get(_PREFIX + "/customers/{identity}")
    async def handwritten(identity: str) -> dict[str, Any]:
        """Get a customer with our client, and let FastAPI write it."""
        return (await _client.customers.retrieve(identity)).to_dict()

elif _KIND == "official":
    import stripe

    _official = stripe.StripeClient(_KEY, http_client=stripe.HTTPXClient(), base_addresses={"api": os.environ["BENCHMARK_STRIPE"]})

    @application.get(_PREFIX + "/customers/{identity}")
    async def official(identity: str) -> dict[str, Any]:
        """Get a customer with the official client, and let FastAPI write it."""
        return (await _official.v1.customers.retrieve_async(identity)).to_dict()

elif _KIND == "webhooks":
    _router(inbox=_inbox())
else:
    _receiving = _inbox()

    @application.post(_PREFIX + "/webhooks")
    async def receive(request: Request) -> Response:
        """Receive, and answer."""
        await _receiving.receive(await request.body(), request.headers.get("Stripe-Signature"))
        return Response()
