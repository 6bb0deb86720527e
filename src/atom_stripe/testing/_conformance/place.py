"""Where a check does its work, and how it compares what it sees."""

from __future__ import annotations

import hashlib
import inspect
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atom_stripe._engine.drive import run
from atom_stripe.errors import AtomStripeError
from atom_stripe.protocols import Authorization, TokenQuery, TokenRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from atom_stripe.protocols import AsyncTokenStore, Reference, TokenStore

T = TypeVar("T")
RowT = TypeVar("RowT", TokenRecord, Authorization)

WORKERS = 4
# Stores may keep times as microseconds; a float of today is exact to a quarter of one.
_TIME_PRECISION = 1.5e-6
# Seconds for threads to begin in, and to run for before another has its turn.
_PATIENCE = 30.0
_SWITCH_INTERVAL = 1e-5
NOW = 1_700_000_000.0
# Text that breaks quoting, encodings and columns that count bytes. A user's id has 255 characters at most.
LONG_USER = ("\U0001f9fe'\"\\%_{}:;\u202e\u4e2d\n" * 20)[:180]


class ConformanceError(AtomStripeError, AssertionError):
    """A store broke a promise. The message says which, and how."""


class BlockingStore:
    """A sync store, async in shape only."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        return self._store.load(reference)

    async def save(self, record: TokenRecord, /) -> bool:
        return self._store.save(record)

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        return self._store.find(query)

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        return self._store.load_authorization(digest)

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        return self._store.save_authorization(authorization)


class Place:
    """Where one check does its work: it opens stores and lets several callers loose on them."""

    def __init__(self, make_store: Callable[[], Any], *, blocking: bool) -> None:
        self._make_store = make_store
        self._blocking = blocking
        self._opened: list[Any] = []
        self.mark = uuid.uuid4().hex[:16]

    def open(self) -> AsyncTokenStore:
        """Make a store."""
        store = self._make_store()
        self._opened.append(store)
        return BlockingStore(store) if self._blocking else store

    async def together(self, flows: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run *flows* at the same time, as threads or as tasks, and return what they return."""
        outcomes = [_Outcome(flow) for flow in flows]
        if self._blocking:
            _run_in_threads([outcome.settle for outcome in outcomes])
        else:
            from anyio import create_task_group

            async with create_task_group() as group:
                for outcome in outcomes:
                    group.start_soon(outcome.settle)
        return [outcome.get() for outcome in outcomes]

    async def close(self) -> None:
        """Close what can be closed."""
        for store in self._opened:
            close = getattr(store, "close", None) or getattr(store, "aclose", None)
            if close is not None:
                closing = close()
                if inspect.isawaitable(closing):
                    await closing

    def record(self, name: str = "", **changes: Any) -> TokenRecord:
        """Return a row that was never written, of a user of this check's own."""
        row = TokenRecord(
            id=f"{self.mark}-{name}",
            user_id=f"{self.mark} {name}",
            profile="connect",
            livemode=False,
            created_at=NOW,
            updated_at=NOW,
        )
        return replace(row, **changes)

    def authorization(self, name: str = "", **changes: Any) -> Authorization:
        """Return an authorization that was never written, and that ends in ten minutes."""
        row = Authorization(
            digest=self.digest(name),
            user_id=f"{self.mark} {name}",
            profile="connect",
            livemode=False,
            session=self.digest("session"),
            redirect_uri="https://shop.example/callback",
            scope=None,
            expires_at=time.time() + 600,
        )
        return replace(row, **changes)

    def digest(self, name: str) -> str:
        """Return a hash that no other check has."""
        return hashlib.sha256(f"{self.mark} {name}".encode()).hexdigest()


class _Outcome(Generic[T]):
    """What one of several callers got."""

    def __init__(self, flow: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._flow = flow
        self._values: list[T] = []
        self._error: Exception | None = None

    async def settle(self) -> None:
        try:
            self._values.append(await self._flow())
        except Exception as error:  # noqa: BLE001 - it is raised by get(), where the check waits for it
            self._error = error

    def get(self) -> T:
        if self._error is not None:
            raise self._error
        return self._values[0]


def _run_in_threads(flows: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    # Nobody begins before all are there; a thread that never comes must not keep the others, or us, forever.
    barrier = threading.Barrier(len(flows) + 1, timeout=_PATIENCE)

    def work(flow: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait()
        run(flow())

    threads = [threading.Thread(target=work, args=(flow,), daemon=True) for flow in flows]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    # Threads that take turns often meet in the gap between a comparison and a write, if there is one.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        with suppress(threading.BrokenBarrierError):
            barrier.wait()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


def demand(kept: bool, broken: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not kept:
        raise ConformanceError(broken)


def present(row: RowT | None, what: str) -> RowT:
    if row is None:
        msg = f"{what} was saved and is not there"
        raise ConformanceError(msg)
    return row


def compare(expected: RowT, row: RowT | None, what: str) -> None:
    row = present(row, what)
    for field in fields(expected):
        if field.compare:
            before, after = getattr(expected, field.name), getattr(row, field.name)
            kept = type(before) is type(after) and (
                abs(before - after) < _TIME_PRECISION if isinstance(before, float) else before == after
            )
            demand(kept, f"{what} came back with another {field.name}: {brief(after)} instead of {brief(before)}")


def brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:40]}… ({len(shown)} characters)"


async def insert(store: AsyncTokenStore, record: TokenRecord) -> TokenRecord:
    demand(await store.save(record) is True, "save() of a new row did not return True")
    return replace(record, version=1)


async def pages(store: AsyncTokenStore, query: TokenQuery) -> list[TokenRecord]:
    found: list[TokenRecord] = []
    while True:
        page = await store.find(query)
        demand(len(page) <= query.limit, f"find() with limit={query.limit} returned {len(page)} rows")
        found += page
        if len(page) < query.limit:
            return found
        demand(query.after is None or page[-1].id > query.after, "find() with after= returned rows up to that id again")
        query = replace(query, after=page[-1].id)
