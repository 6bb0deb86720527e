"""Stores with faults on demand."""

from __future__ import annotations

import inspect
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atom_stripe._engine.drive import run
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import Authorization, TokenQuery, TokenRecord
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import TOKEN_STORE_CHECKS, AsyncFaultyTokenStore, FaultyTokenStore
from atom_stripe.testing.faulty_stores import StoreCall, StoreFaults
from tests.canary import ACCESS_TOKEN, MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from atom_stripe.testing.conformance import Check

ROW = TokenRecord(id="con_1", user_id="user_1", profile="connect", livemode=False, access_token=ACCESS_TOKEN)
AUTHORIZATION = Authorization(
    digest=MARK,
    user_id="user_1",
    profile="connect",
    livemode=False,
    session=MARK,
    redirect_uri="https://shop.example/callback",
    scope=None,
    expires_at=2e9,
)


class World:
    """A faulty store of one colour, and what stands behind it."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.behind = MemoryTokenStore()
        self.store: Any = (
            FaultyTokenStore(self.behind) if colour == "sync" else AsyncFaultyTokenStore(AsyncMemoryTokenStore(self.behind))
        )

    def call(self, method: str, *arguments: Any) -> Any:
        """Call the faulty store."""

        async def flow() -> Any:
            value = getattr(self.store, method)(*arguments)
            return await value if inspect.isawaitable(value) else value

        return self.run(flow)

    def run(self, flow: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return run(flow()) if self.colour == "sync" else anyio.run(flow, backend=self.colour)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
def test_without_faults_it_keeps_every_promise(check: Check) -> None:
    """A faulty store that holds no fault keeps each promise that the store behind it keeps."""
    behind = MemoryTokenStore()
    check.run(lambda: FaultyTokenStore(behind))
    anyio.run(check.run_async, lambda: AsyncFaultyTokenStore(AsyncMemoryTokenStore(behind)))


def test_fail_writes_nothing(world: World) -> None:
    """``fail`` raises ``StoreError`` and the store behind is not asked; the call after it works."""
    world.store.faults.next(kind="fail", operation="save")
    with pytest.raises(StoreError):
        world.call("save", ROW)
    assert world.behind.load(ROW.reference) is None
    assert world.call("save", ROW) is True


def test_lose_answer_writes_first(world: World) -> None:
    """``lose_answer`` raises ``StoreError`` after the row was written."""
    world.store.faults.next(kind="lose_answer", operation="save")
    world.store.faults.next(kind="lose_answer", operation="save_authorization")
    with pytest.raises(StoreError):
        world.call("save", ROW)
    with pytest.raises(StoreError):
        world.call("save_authorization", AUTHORIZATION)
    assert world.behind.load(ROW.reference) == replace(ROW, version=1)
    assert world.behind.load_authorization(MARK) == replace(AUTHORIZATION, version=1)


def test_lose_lies(world: World) -> None:
    """``lose`` returns that it saved, and nothing was written; it lets calls go by that write nothing."""
    world.store.faults.next(kind="lose", times=2)
    assert world.call("load", ROW.reference) is None
    assert world.call("save", ROW) is True
    assert world.call("save_authorization", AUTHORIZATION) is True
    assert world.behind.load(ROW.reference) is None
    assert world.behind.load_authorization(MARK) is None
    assert len(world.store.faults) == 0


def test_delay_waits_and_then_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """``delay`` waits the seconds that it was given, once for each call, and the work is done."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("anyio.sleep", sleep)
    for colour in ("sync", "asyncio", "trio"):
        world = World(colour)
        world.store.faults.next(kind="delay", operation="save", seconds=7.5)
        assert world.call("save", ROW) is True
        assert world.call("save", replace(ROW, version=1)) is True
    assert slept == [7.5] * 3


def test_faults_come_in_turn_for_their_operation(world: World) -> None:
    """A fault waits for its operation, those without one take any call, and each is for as many calls as it says."""
    faults = world.store.faults
    faults.next(kind="fail", operation="find", times=2)
    faults.next(kind="fail")
    outcomes = []
    for method, argument in [("load", ROW.reference), ("load", ROW.reference), *[("find", TokenQuery())] * 3]:
        try:
            world.call(method, argument)
            outcomes.append("done")
        except StoreError:
            outcomes.append("failed")
    assert outcomes == ["failed", "done", "failed", "failed", "done"]
    faults.next(kind="fail")
    faults.clear()
    assert world.call("load_authorization", MARK) is None


def test_calls_are_noted_without_secrets(world: World) -> None:
    """The log of calls says what was called about whom, with which version and fault, and holds no token and no hash."""
    world.store.faults.next(kind="lose_answer", operation="save")
    with pytest.raises(StoreError):
        world.call("save", ROW)
    world.call("load", ROW.reference)
    world.call("find", TokenQuery(fingerprints=frozenset([MARK])))
    world.call("save_authorization", AUTHORIZATION)
    world.call("load_authorization", MARK)
    assert list(world.store.calls) == [
        StoreCall("save", "user_1", 0, "lose_answer"),
        StoreCall("load", "user_1", None, None),
        StoreCall("find", None, None, None),
        StoreCall("save_authorization", "user_1", 0, None),
        StoreCall("load_authorization", None, None, None),
    ]
    assert MARK not in repr(world.store.calls)


def test_threads_take_each_fault_once() -> None:
    """Of many threads, exactly as many meet a fault as there are faults."""
    faults = StoreFaults()
    faults.next(kind="fail", times=10)
    met: list[object] = []

    def work() -> None:
        met.extend(faults.take("load", "user_1", None) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fault is not None for fault in met) == 10
    assert sum(call.fault == "fail" for call in faults.calls) == 10
    assert len(faults.calls) == 80


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"kind": "explode"}, "kind|one of"),
        ({"kind": "fail", "operation": "delete"}, "operation"),
        ({"kind": "lose", "operation": "load"}, "only save"),
        ({"kind": "delay"}, "seconds"),
        ({"kind": "fail", "seconds": 1.0}, "seconds"),
        ({"kind": "delay", "seconds": -1.0}, "seconds"),
        ({"kind": "delay", "seconds": float("nan")}, "seconds"),
        ({"kind": "fail", "times": 0}, "times"),
    ],
)
def test_faults_that_make_no_sense_are_refused(settings: dict[str, Any], word: str) -> None:
    """A fault that could never strike, or not as it says, is refused in words and does not wait."""
    faults = StoreFaults()
    with pytest.raises(ConfigurationError, match=word):
        faults.next(**settings)
    assert len(faults) == 0
