"""``create_app``: a whole service from the settings in the environment. It is also an example of how the parts fit together."""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from atom_stripe.client import AsyncStripeClient
from atom_stripe.config import StripeConfig
from atom_stripe.contrib.fastapi.bearer import BearerTokens
from atom_stripe.contrib.fastapi.guard import Guard
from atom_stripe.contrib.fastapi.router import create_router
from atom_stripe.errors import ConfigurationError
from atom_stripe.inbox import AsyncWebhookInbox
from atom_stripe.inbox_config import InboxConfig
from atom_stripe.oauth import AsyncOAuthManager
from atom_stripe.oauth_config import OAuthConfig
from atom_stripe.service import Problem, ServiceConfig
from atom_stripe.service.settings import EVENTS, PREFIX
from atom_stripe.webhooks import WebhookVerifier

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from fastapi import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from atom_stripe.inbox import AsyncHandlerContext
    from atom_stripe.metrics import Metrics
    from atom_stripe.models import Event, EventNotification

LOG = logging.getLogger(__name__)
# What the manager wants to hear of, at endpoints of both kinds.
_CONNECTIONS = (
    "account.application.deauthorized",
    "v1.account.application.deauthorized",
    "apps.install.deleted",
    "v1.apps.install.deleted",
    "account.updated",
    "v1.account.updated",
)
_KINDS = {404: "not_found", 405: "method_not_allowed"}
_DETAILS = {404: "There is no such path here.", 405: "This path does not take this method."}


@dataclass(frozen=True, slots=True)
class _Opened:
    """What the service works with, and closes in the reverse order."""

    client: AsyncStripeClient
    oauth: AsyncOAuthManager | None
    inbox: AsyncWebhookInbox | None
    stores: tuple[Any, ...]


def create_app(
    environment: Mapping[str, str] | None = None,
    *,
    worker: bool = True,
    prefix: str = PREFIX,
    authorize: Callable[..., Any] | None = None,
    authorize_operator: Callable[..., Any] | None = None,
    metrics: Metrics | None = None,
    config: ServiceConfig | None = None,
) -> FastAPI:
    """
    Return a service that is there already: ``uvicorn --factory atom_stripe.contrib.fastapi:create_app``, or ``atom-stripe serve``.

    It opens what the environment names and closes it when it ends. ``app.state.client``, ``app.state.oauth`` and ``app.state.inbox`` are its parts,
    for routes and handlers of your own: ``@app.state.inbox.on("invoice.paid")``. Register handlers before it starts.

    Reads what ``StripeConfig.from_env()`` and ``OAuthConfig.from_env()`` read, and: ``DATABASE_URL``, where events and connections are kept;
    ``SECRET_KEY``, which signs the bearer tokens of callers; ``STRIPE_CONNECTED_URL``, ``ServiceConfig.connected_url``; ``RATE_LIMIT_STORAGE``,
    ``ServiceConfig.limit_storage``; ``ALLOWED_HOSTS``, the host names that it answers to, separated by commas, any if left out. Accounts can be
    connected with ``STRIPE_CLIENT_ID``; without it every call is for the platform's own account, and callers need tokens for that. In test
    mode ``STRIPE_WEBHOOK_SECRET`` may be missing, and then ``/webhooks`` is too.

    Args:
        environment: Read in place of the process's own.
        worker: Whether events are handled in this process; if not, by ``atom-stripe worker``.
        prefix: Where the routes are.
        authorize: Who calls, as ``create_router()`` takes it, in place of bearer tokens.
        authorize_operator: The same for what operators see.
        metrics: Where numbers go; left out, a ``PrometheusMetrics``, shown at ``/metrics``.
        config: The settings of the routes, in place of the environment's.

    Raises:
        ConfigurationError: A setting is missing or malformed.
        MissingExtraError: ``pip install "atom-stripe[server]"`` was not done.
    """
    values = os.environ if environment is None else environment
    stripe = StripeConfig.from_env(values)
    if authorize is None:
        tokens = BearerTokens(_needed(values, "SECRET_KEY"))
        authorize = tokens.authorize(platform_only=not values.get("STRIPE_CLIENT_ID", "").strip())
        authorize_operator = authorize_operator or tokens.authorize_operator()
    metrics = metrics or _prometheus()
    opened = _opened(values, stripe, metrics)
    router = create_router(
        client=opened.client,
        oauth=opened.oauth,
        inbox=opened.inbox,
        authorize=authorize,
        authorize_operator=authorize_operator,
        metrics=metrics,
        config=config or _service_config(values),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            # Closed from the last to the first: the worker hands back what it holds while everything that it needs is still there.
            for store in opened.stores:
                stack.push_async_callback(store.close) if _is_async(store) else stack.callback(store.close)
            for part in (opened.client, opened.oauth, opened.inbox):
                if part is not None:
                    stack.push_async_callback(part.close)
            if worker and opened.inbox is not None:
                await stack.enter_async_context(opened.inbox.worker())
            yield

    hosts = [host.strip() for host in values.get("ALLOWED_HOSTS", "").split(",") if host.strip()]
    app = FastAPI(
        title="atom-stripe",
        lifespan=lifespan,
        # Their pages run scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{prefix}/openapi.json",
        middleware=[
            Middleware(Guard),
            *([Middleware(_Hosts, allowed_hosts=hosts, open_path=f"{prefix}/health")] if hosts else []),
        ],
        exception_handlers={Problem: _problem, HTTPException: _http_problem},
    )
    app.state.client, app.state.oauth, app.state.inbox = opened.client, opened.oauth, opened.inbox
    app.include_router(router, prefix=prefix)
    return app


class _Hosts(TrustedHostMiddleware):
    """Refuses other hosts. *open_path* is answered under any name: what watches a process asks it by its address."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: list[str], open_path: str) -> None:
        super().__init__(app, allowed_hosts=allowed_hosts, www_redirect=False)
        self._open_path = open_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        inner = self.app if scope.get("path") == self._open_path else super().__call__
        await inner(scope, receive, send)


# Parts.


def _opened(values: Mapping[str, str], stripe: StripeConfig, metrics: Metrics) -> _Opened:
    from atom_stripe.stores.sql import AsyncSqlTokenStore, SqlInboxStore

    database = _needed(values, "DATABASE_URL")
    oauth_config = None
    if values.get("STRIPE_CLIENT_ID", "").strip():
        oauth_config = OAuthConfig.from_env(values)
        if not oauth_config.redirect_uris:
            msg = "there is a STRIPE_CLIENT_ID and no STRIPE_REDIRECT_URI, to which Stripe sends users back: `atom-stripe init` sets both"
            raise ConfigurationError(msg)
    if not stripe.webhook_secrets and stripe.livemode:
        msg = "STRIPE_WEBHOOK_SECRET is missing, so no delivery could be verified: `atom-stripe init` makes an endpoint and stores its secret"
        raise ConfigurationError(msg)
    # All that can be wrong is wrong before anything is open.
    verifier = WebhookVerifier.from_config(stripe) if stripe.webhook_secrets else None
    stores: list[Any] = []
    oauth = None
    if oauth_config is not None:
        stores.append(AsyncSqlTokenStore.from_url(database))
        oauth = AsyncOAuthManager(oauth_config, stores[-1], metrics=metrics)
    client = AsyncStripeClient(config=stripe, oauth=oauth)
    inbox = None
    if verifier is None:
        LOG.warning("STRIPE_WEBHOOK_SECRET is not set: there is no /webhooks, and nothing is heard of payments")
    else:
        stores.append(SqlInboxStore.from_url(database))
        inbox = AsyncWebhookInbox(
            verifier, stores[-1], client=client, config=InboxConfig(livemode=stripe.livemode), metrics=metrics
        )
        _register(inbox, oauth)
    return _Opened(client, oauth, inbox, tuple(stores))


def _register(inbox: AsyncWebhookInbox, oauth: AsyncOAuthManager | None) -> None:
    if oauth is not None:
        manager = oauth

        @inbox.on(*_CONNECTIONS, name="atom_stripe.connections")
        async def _end_connections(event: Event | EventNotification, _context: AsyncHandlerContext) -> None:
            for connection in await manager.handle_event(event):
                LOG.info("a connection is %s now", connection.state, extra={"account": connection.account})

    @inbox.on(*EVENTS, name="atom_stripe.log", ordering="none")
    async def _log(event: Event | EventNotification, _context: AsyncHandlerContext) -> None:
        LOG.info("%s was handled", event.type, extra={"event": event.id, "event_type": event.type})


def _prometheus() -> Metrics:
    from atom_stripe.metrics import PrometheusMetrics

    return PrometheusMetrics()


def _service_config(values: Mapping[str, str]) -> ServiceConfig:
    found: dict[str, Any] = {
        "connected_url": values.get("STRIPE_CONNECTED_URL", "").strip(),
        "limit_storage": values.get("RATE_LIMIT_STORAGE", "").strip(),
    }
    return ServiceConfig(**{name: value for name, value in found.items() if value})


def _needed(values: Mapping[str, str], name: str) -> str:
    if value := values.get(name, "").strip():
        return value
    msg = f"{name} is not set: `atom-stripe init` sets it"
    raise ConfigurationError(msg)


def _is_async(store: Any) -> bool:
    from inspect import iscoroutinefunction

    return iscoroutinefunction(store.close)


# Problems that arise outside of the routes.


async def _problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    answer = error.answer()
    return Response(answer.body, answer.status, answer.all_headers, answer.media_type)


async def _http_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    kind, detail = _KINDS.get(status, "refused"), _DETAILS.get(status, "The request was refused.")
    return await _problem(request, Problem(status, kind, detail, headers=dict(error.headers or {})))
