"""
Proof that a store keeps its promises: run it against a store of your own, on the database that it will live in.

One check for each promise of ``TokenStore``. All at once::

    check_token_store(lambda: MyTokenStore(connect()))

or one by one under pytest::

    @pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
    def test_my_store(check):
        check.run(lambda: MyTokenStore(connect()))

The rows of one run have ids of their own, so the place need not be empty; they stay there, so it must not be the one that you work with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atom_stripe._engine.drive import run
from atom_stripe.testing._conformance import finding, keeping, racing
from atom_stripe.testing._conformance.place import Place
from atom_stripe.testing._conformance.stage import ConformanceError, Promise, words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atom_stripe.protocols import AsyncTokenStore, TokenStore

__all__ = ["TOKEN_STORE_CHECKS", "Check", "ConformanceError", "check_async_token_store", "check_token_store"]


@dataclass(frozen=True, slots=True)
class Check(Promise):
    """One promise and the flow that tries it."""

    flow: Callable[[Place], Awaitable[None]]

    def run(self, make_store: Callable[[], TokenStore]) -> None:
        """
        Try the promise on stores that *make_store* makes, a new one for each call; those that have a ``close`` are closed at the end.

        Raises:
            ConformanceError: It is broken.
        """
        run(self._try(Place(make_store, blocking=True)))

    async def run_async(self, make_store: Callable[[], AsyncTokenStore]) -> None:
        """Try the promise as ``run`` does, on async stores, under asyncio or trio."""
        await self._try(Place(make_store, blocking=False))

    async def _try(self, place: Place) -> None:
        with self.judged():
            try:
                await self.flow(place)
            finally:
                await place.close()


def check_token_store(make_store: Callable[[], TokenStore], *, shared: bool = True) -> None:
    """
    Try every promise of ``TokenStore`` on stores that *make_store* makes.

    Each call of *make_store* returns a new store. *shared*: they are on the same place, as those of two processes are; with ``False`` the
    checks that need this are left out, which leaves the promise to other processes unproven.

    Raises:
        ConformanceError: A promise is broken.
    """
    for check in TOKEN_STORE_CHECKS:
        if shared or not check.shared:
            check.run(make_store)


async def check_async_token_store(make_store: Callable[[], AsyncTokenStore], *, shared: bool = True) -> None:
    """Try every promise of ``AsyncTokenStore`` as ``check_token_store`` does, under asyncio or trio."""
    for check in TOKEN_STORE_CHECKS:
        if shared or not check.shared:
            await check.run_async(make_store)


def _check(flow: Callable[[Place], Awaitable[None]], *, shared: bool = False) -> Check:
    return Check(*words(flow), shared, flow)


TOKEN_STORE_CHECKS: Sequence[Check] = (
    _check(keeping.keeps_every_field),
    _check(keeping.keeps_states),
    _check(keeping.tells_references_apart),
    _check(keeping.keeps_authorizations),
    _check(keeping.reads_its_clock),
    _check(racing.inserts_once),
    _check(racing.compares_versions),
    _check(racing.one_writer_wins),
    _check(racing.loses_no_update),
    _check(finding.finds_by_every_field),
    _check(finding.finds_in_order),
    _check(finding.pages_under_writes),
    _check(racing.is_seen_by_others, shared=True),
    _check(racing.one_writer_wins_among_others, shared=True),
    _check(racing.loses_no_update_among_others, shared=True),
    _check(racing.outlives_closing, shared=True),
)
