"""The stores in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from atom_stripe.protocols import Authorization, TokenQuery, TokenRecord
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import TOKEN_STORE_CHECKS
from tests.canary import ACCESS_TOKEN, MARK

if TYPE_CHECKING:
    from atom_stripe.testing.conformance import Check

ROW = TokenRecord(id="con_1", user_id="user_1", profile="connect", livemode=False, access_token=ACCESS_TOKEN)
AUTHORIZATION = Authorization(
    digest="d" * 64,
    user_id="user_1",
    profile="connect",
    livemode=False,
    session=MARK,
    redirect_uri="https://shop.example/callback",
    scope=None,
    expires_at=2e9,
)


@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
def test_it_keeps_every_promise(check: Check) -> None:
    """The store in memory keeps each promise of ``TokenStore``, where several share their rows."""
    rows = MemoryTokenStore()
    check.run(lambda: MemoryTokenStore(rows))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
def test_the_async_one_keeps_every_promise(check: Check, backend: str) -> None:
    """The async store keeps each promise, where several are put in front of the same rows."""
    rows = MemoryTokenStore()
    anyio.run(check.run_async, lambda: AsyncMemoryTokenStore(rows), backend=backend)


def test_load_returns_the_row_itself() -> None:
    """Rows are frozen, so loading copies nothing: two loads return the same object, and it says no time of reading."""
    store = MemoryTokenStore()
    store.save(replace(ROW, read_at=5.0))
    first = store.load(ROW.reference)
    assert first is store.load(ROW.reference)
    assert first is not None
    assert first.read_at is None


def test_a_row_does_not_change_its_reference() -> None:
    """A save that names the id of one row and the reference of another is refused and changes neither."""
    store = MemoryTokenStore()
    other = replace(ROW, id="con_2", user_id="user_2")
    store.save(ROW)
    store.save(other)
    assert not store.save(replace(ROW, user_id="user_2", version=1, scope="mixed"))
    assert not store.save(replace(ROW, user_id="user_3", version=1))
    assert list(store.find(TokenQuery())) == [replace(ROW, version=1), replace(other, version=1)]


def test_both_colours_share_rows() -> None:
    """What the sync store wrote, an async one that was given it loads, and the other way round; one that was given none is alone."""
    sync = MemoryTokenStore()
    sync.save(ROW)

    async def flow() -> None:
        shared = AsyncMemoryTokenStore(sync)
        assert await shared.load(ROW.reference) is sync.load(ROW.reference)
        assert await shared.save(replace(ROW, version=1))
        assert await AsyncMemoryTokenStore().load(ROW.reference) is None

    anyio.run(flow)
    assert [row.version for row in sync.find(TokenQuery())] == [2]


def test_repr_shows_counts_only() -> None:
    """The repr of a store says how much is in it, and no id, token or hash."""
    store = MemoryTokenStore()
    store.save(ROW)
    store.save_authorization(AUTHORIZATION)
    assert repr(store) == "MemoryTokenStore(1 connections, 1 authorizations)"
    assert repr(AsyncMemoryTokenStore(store)) == "AsyncMemoryTokenStore(1 connections, 1 authorizations)"
