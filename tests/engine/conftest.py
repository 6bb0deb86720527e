"""One suite, three colours: a test is written once, as ``async def`` code, and runs behind sync ports, under asyncio and under trio."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from atom_stripe import AsyncStripeClient, StripeClient, StripeConfig
from atom_stripe._engine.access import Access
from atom_stripe._engine.drive import run
from atom_stripe._engine.limiter import Limiter
from atom_stripe._engine.ports import Ports
from atom_stripe._wire.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atom_stripe._wire.messages import Request

KEY = "sk_test_" + "e" * 24


def answer(body: Any = None, status: int = 200, **headers: str) -> Reply:
    """An answer of Stripe's."""
    content = (
        body if isinstance(body, bytes) else json.dumps({"id": "cus_1", "object": "customer"} if body is None else body).encode()
    )
    return Reply(status, {"request-id": "req_1", **{name.replace("_", "-"): value for name, value in headers.items()}}, content)


def refusal(status: int, code: str | None = None, kind: str = "invalid_request_error", **headers: str) -> Reply:
    """An error of Stripe's."""
    return answer({"error": {"type": kind, "code": code, "message": "no"}}, status, **headers)


@dataclass
class World:
    """Ports in memory: a script of answers, and a clock that only sleeping moves."""

    waits: bool
    script: list[Reply | BaseException] = field(default_factory=list)
    otherwise: Callable[[Request], Reply] = lambda _request: answer()
    requests: list[Request] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 1000.0
    closed: int = 0
    takes: float = 0.0

    async def send(self, request: Request, timeout: float) -> Reply:
        if self.waits:
            await checkpoint()
        self.requests.append(request)
        self.timeouts.append(timeout)
        self.now += self.takes
        outcome = self.script.pop(0) if self.script else self.otherwise(request)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def close(self) -> None:
        self.closed += 1

    async def sleep(self, seconds: float, /) -> None:
        if self.waits:
            await checkpoint()
        self.slept.append(seconds)
        self.now += seconds

    def ports(self) -> Ports:
        return Ports(self, self.sleep, clock=lambda: self.now, jitter=lambda: 1.0)

    def idempotency_keys(self) -> list[str | None]:
        return [request.headers.get("Idempotency-Key") for request in self.requests]


@dataclass
class Colour:
    """How the tests of one colour run."""

    name: str

    def world(self) -> World:
        return World(waits=self.name != "sync")

    def client(self, world: World, limiter: Limiter | None = None, **settings: Any) -> Any:
        config = StripeConfig(**{"api_key": KEY, **settings})
        kind: Any = StripeClient if self.name == "sync" else AsyncStripeClient
        return kind.__new__(kind)._begin(Access(config, world.ports(), limiter or Limiter()))

    def run(self, flow: Callable[[], Awaitable[Any]]) -> Any:
        return run(flow()) if self.name == "sync" else anyio.run(flow, backend=self.name)

    def call(self, make: Callable[[], Any]) -> Any:
        """Return what a call returns, awaited where it must be."""

        async def flow() -> Any:
            return await settled(make())

        return self.run(flow)


async def settled(value: Any) -> Any:
    """Await *value* if it is the async colour's."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(params=["sync", "asyncio", "trio"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


@pytest.fixture
def world(colour: Colour) -> World:
    return colour.world()


@pytest.fixture
def make() -> Any:
    """The two kinds of answer, for tests to script."""

    class Make:
        answer = staticmethod(answer)
        refusal = staticmethod(refusal)
        settled = staticmethod(settled)

    return Make
