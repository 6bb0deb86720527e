"""One service in both frameworks: what a test asks of one, it asks of the other."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from flask import Flask
from flask import request as flask_request

from atom_stripe import AsyncWebhookInbox, WebhookInbox, WebhookVerifier
from atom_stripe.contrib.fastapi import create_router
from atom_stripe.contrib.flask import create_blueprint
from atom_stripe.service import Caller
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "/api/v1/stripe"
SECRET = "whsec_" + "s" * 32


@dataclass(frozen=True)
class Reply:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """Which problem it is."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        return str(self.json["type"]).rpartition(":")[2]


def _caller(user: str | None) -> Caller | None:
    """Anybody is who they say they are; "platform" acts for the platform's own account."""
    return Caller(user, platform=user == "platform") if user else None


class Visitor:
    """Somebody who asks the service, with cookies like a browser's."""

    def __init__(self, client: httpx.Client, user: str | None = "platform") -> None:
        self.client = client
        self.user = user

    def ask(self, method: str, path: str, *, user: str | None = "", **request: Any) -> Reply:
        """Send a request to a path under the prefix, as *user*; *request* as httpx takes it."""
        headers = {name.lower(): value for name, value in (request.pop("headers", None) or {}).items()}
        who = self.user if user == "" else user
        if who:
            headers.setdefault("x-user", who)
        if method == "POST" and not {"content", "json", "data"} & set(request):
            request["json"] = {}
        answer = self.client.request(method, PREFIX + path, headers=headers, follow_redirects=False, **request)
        return Reply(answer.status_code, dict(answer.headers), answer.content)

    def get(self, path: str, **request: Any) -> Reply:
        return self.ask("GET", path, **request)

    def post(self, path: str, body: Any = None, **request: Any) -> Reply:
        return self.ask("POST", path, **({"json": body} if body is not None else {}), **request)

    def delete(self, path: str, **request: Any) -> Reply:
        return self.ask("DELETE", path, **request)


class _Portal(httpx.BaseTransport):
    """httpx's sync client in front of an ASGI app, which lives in an event loop of its own."""

    def __init__(self, portal: Any, app: FastAPI) -> None:
        self._portal = portal
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def sent() -> httpx.Response:
            body = request.read()
            answer = await self._inner.handle_async_request(
                httpx.Request(request.method, request.url, headers=request.headers, content=body)
            )
            await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

        return self._portal.call(sent)


@contextmanager
def fastapi_service(**parts: Any) -> Iterator[httpx.Client]:
    """Mount *parts*, which are async ones, in FastAPI."""

    async def authorize(request: FastAPIRequest) -> Caller | None:
        return _caller(request.headers.get("x-user"))

    app = FastAPI()
    app.include_router(create_router(**{"authorize": authorize, **parts}), prefix=PREFIX)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        httpx.Client(transport=_Portal(portal, app), base_url="https://shop.example") as client,
    ):
        yield client


@contextmanager
def flask_service(**parts: Any) -> Iterator[httpx.Client]:
    """Mount *parts*, which are sync ones, in Flask."""

    def authorize() -> Caller | None:
        return _caller(flask_request.headers.get("x-user"))

    app = Flask("shop")
    app.register_blueprint(create_blueprint(**{"authorize": authorize, **parts}), url_prefix=PREFIX)
    with httpx.Client(transport=httpx.WSGITransport(app, raise_app_exceptions=False), base_url="https://shop.example") as client:
        yield client


@dataclass
class World:
    """A framework, and how to make parts of its colour."""

    framework: str
    sandbox: StripeSandbox
    stack: ExitStack

    @property
    def asynchronous(self) -> bool:
        return self.framework == "fastapi"

    def client(self, **settings: Any) -> Any:
        """Make a client of this colour that asks the sandbox."""
        return (self.sandbox.async_client if self.asynchronous else self.sandbox.client)(**settings)

    def manager(self, **settings: Any) -> Any:
        """Make a manager of this colour, whose users come back to the service."""
        settings = {"redirect_uris": (f"https://shop.example{PREFIX}/oauth/callback",), **settings}
        return (self.sandbox.async_oauth_manager if self.asynchronous else self.sandbox.oauth_manager)(**settings)

    def inbox(self, **settings: Any) -> Any:
        """Make an inbox of this colour, in memory, whose secret is ``SECRET``."""
        kind = AsyncWebhookInbox if self.asynchronous else WebhookInbox
        settings = {
            "verifier": WebhookVerifier(SECRET, clock=lambda: self.sandbox.clock.timestamp),
            "store": MemoryInboxStore(),
            **settings,
        }
        inbox = kind(**settings, clock=lambda: self.sandbox.clock.timestamp)
        self.stack.callback(inbox._core.close)
        return inbox

    def mount(self, *, user: str | None = "platform", **parts: Any) -> Visitor:
        """Mount *parts*, and return somebody who asks."""
        service: Callable[..., Any] = fastapi_service if self.asynchronous else flask_service
        return Visitor(self.stack.enter_context(service(**parts)), user)


@pytest.fixture(params=["fastapi", "flask"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each framework, with a Stripe of its own."""
    with StripeSandbox() as sandbox, ExitStack() as stack:
        yield World(request.param, sandbox, stack)


@pytest.fixture
def visitor(world: World) -> Visitor:
    """Somebody who asks a service that has a client and nothing else, for the platform's own account."""
    return world.mount(client=world.client())
