"""A world with an inbox in it: a verifier, a store, events as Stripe signs them, and a worker in any colour."""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atom_stripe import API_VERSION
from atom_stripe._wire.signature import signature_header
from atom_stripe.inbox import AsyncWebhookInbox, HandlerRetry, InboxConfig, WebhookInbox
from atom_stripe.protocols import InboxQuery, InboxRecord
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE = 20.0
AT_ONCE = HandlerRetry(attempts=3, initial_delay=0.0, max_delay=0.0)


def event(id: str = "evt_1", type: str = "customer.updated", obj: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a snapshot event in Stripe's shape."""
    return {
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": 1_790_000_000,
        "data": {"object": {"id": "cus_1", "object": "customer"} if obj is None else obj},
        "livemode": False,
        "pending_webhooks": 1,
        "type": type,
        **fields,
    }


def thin(id: str = "evt_thin", type: str = "v1.billing.meter.no_meter_found", **fields: Any) -> dict[str, Any]:
    """Return a thin event in Stripe's shape."""
    return {"id": id, "object": "v2.core.event", "type": type, "created": "2026-11-01T00:00:00Z", "livemode": False, **fields}


def signed(body: bytes, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    return signature_header(body, [secret], int(time.time() if at is None else at))


@dataclass
class World:
    """One inbox. *colour*: sync, asyncio or trio."""

    colour: str
    store: Any = field(default_factory=MemoryInboxStore)
    inbox: Any = None

    def open(self, verifier: Any = None, *, client: Any = None, lane: Any = None, clock: Any = time.time, **config: Any) -> Any:
        """Make the inbox, impatient where the defaults are patient."""
        settings = {"retry": AT_ONCE, "workers": 3, "poll_interval": 0.02, "grace": 5.0, **config}
        kind: Any = WebhookInbox if self.colour == "sync" else AsyncWebhookInbox
        self.inbox = kind(
            WebhookVerifier(WEBHOOK_SECRET) if verifier is None else verifier,
            self.store,
            client=client,
            lane=lane,
            clock=clock,
            config=InboxConfig(**settings),
        )
        return self.inbox

    def handler(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function* as a handler of this colour: an async one but for the sync inbox."""
        if self.colour == "sync":
            return function

        async def handle(event: Any, context: Any) -> None:
            function(event, context)

        handle.__qualname__ = function.__qualname__
        return handle

    def call(self, make: Callable[[], Any]) -> Any:
        """Return what a call returns, awaited where it must be."""
        return self.run(make)

    def run(self, make: Callable[[], Any]) -> Any:
        if self.colour == "sync":
            return make()

        async def flow() -> Any:
            return await settled(make())

        return anyio.run(flow, backend=self.colour)

    def receive(self, raw: dict[str, Any] | bytes, **options: Any) -> Any:
        """Have the inbox receive *raw*, signed."""
        body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        return self.call(lambda: self.inbox.receive(body, signed(body), **options))

    def work(self, until: Callable[[], Any], act: Callable[[], Awaitable[None] | None] | None = None) -> None:
        """Run the worker until *until* holds; *act* is done while it runs."""
        if self.colour == "sync":
            with self.inbox.worker():
                if act is not None:
                    act()
                wait_for(until)
            return

        async def flow() -> None:
            async with self.inbox.worker():
                if act is not None:
                    await settled(act())
                with anyio.fail_after(PATIENCE):
                    while not until():  # noqa: ASYNC110 - what is waited for happens in threads
                        await anyio.sleep(0.002)

        anyio.run(flow, backend=self.colour)

    def drain(self) -> None:
        """Run the worker until no event is pending that is not set aside for later."""
        self.work(lambda: not self.store.waiting(0, 1))

    def records(self, **query: Any) -> list[InboxRecord]:
        return list(self.store.find(InboxQuery(payloads=True, **query)))

    def only(self) -> InboxRecord:
        (record,) = self.records()
        return record


async def settled(value: Any) -> Any:
    """Await *value* if it is the async colour's."""
    return await value if inspect.isawaitable(value) else value


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.002)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture
def sync_world() -> World:
    return World("sync")


@pytest.fixture(params=["asyncio", "trio"])
def async_world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture
def make() -> Any:
    """What tests are written with."""

    class Make:
        World = World

    for function in (event, thin, signed, settled, wait_for):
        setattr(Make, function.__name__, staticmethod(function))
    return Make
