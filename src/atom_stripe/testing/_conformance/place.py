"""Where a check does its work, and how it compares what it sees."""

from __future__ import annotations

import hashlib
import time
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from atom_stripe._engine.connect.ports import BlockingTokens
from atom_stripe._engine.drive import run
from atom_stripe.protocols import Authorization, TokenQuery, TokenRecord
from atom_stripe.testing._conformance.stage import ConformanceError, Outcome, Stage, brief, demand, in_threads, same

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from atom_stripe.protocols import AsyncTokenStore

T = TypeVar("T")
RowT = TypeVar("RowT", TokenRecord, Authorization)

WORKERS = 4
NOW = 1_700_000_000.0
# Text that breaks quoting, encodings and columns that count bytes. A user's id has 255 characters at most.
LONG_USER = ("\U0001f9fe'\"\\%_{}:;\u202e\u4e2d\n" * 20)[:180]


class Place(Stage):
    """Where one check does its work: it opens stores and lets several callers loose on them."""

    def __init__(self, make_store: Callable[[], Any], *, blocking: bool) -> None:
        super().__init__(make_store)
        self._blocking = blocking

    def open(self) -> AsyncTokenStore:
        """Make a store."""
        store = self.made()
        return BlockingTokens(store) if self._blocking else store

    async def together(self, flows: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run *flows* at the same time, as threads or as tasks, and return what they return."""
        if self._blocking:
            return in_threads([partial(_finished, flow) for flow in flows])
        from anyio import create_task_group

        outcomes = [Outcome[T]() for _ in flows]
        async with create_task_group() as group:
            for flow, outcome in zip(flows, outcomes, strict=True):
                group.start_soon(_settle, flow, outcome)
        return [outcome.get() for outcome in outcomes]

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


def _finished(flow: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return run(flow())


async def _settle(flow: Callable[[], Coroutine[Any, Any, T]], outcome: Outcome[T]) -> None:
    with outcome.caught() as note:
        note(await flow())


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
            demand(same(before, after), f"{what} came back with another {field.name}: {brief(after)} instead of {brief(before)}")


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
