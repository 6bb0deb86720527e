"""
Proof that an inbox's store keeps its promises: run it against a store of your own, on the database that it will live in.

One check for each promise of ``InboxStore``. All at once::

    check_inbox_store(lambda: MyInboxStore(connect()))

or one by one under pytest::

    @pytest.mark.parametrize("check", INBOX_STORE_CHECKS)
    def test_my_store(check):
        check.run(lambda: MyInboxStore(connect()))

The events of one run have ids and lanes of their own, so the place need not be empty; but they stay there, and the payloads of everything that was
done are purged, so it must not be the one that you work with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atom_stripe.testing._conformance import (
    inbox_bundling,
    inbox_claiming,
    inbox_finding,
    inbox_keeping,
    inbox_racing,
    inbox_stepping,
)
from atom_stripe.testing._conformance.inbox_place import InboxPlace
from atom_stripe.testing._conformance.stage import Promise, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import InboxStore

__all__ = ["INBOX_STORE_CHECKS", "InboxCheck", "check_inbox_store"]


@dataclass(frozen=True, slots=True)
class InboxCheck(Promise):
    """One promise and the flow that tries it."""

    flow: Callable[[InboxPlace], None]

    def run(self, make_store: Callable[[], InboxStore]) -> None:
        """
        Try the promise on stores that *make_store* makes, a new one for each call; those that have a ``close`` are closed at the end.

        Raises:
            ConformanceError: It is broken.
        """
        place = InboxPlace(make_store)
        with self.judged():
            try:
                self.flow(place)
            finally:
                place.finish()


def check_inbox_store(make_store: Callable[[], InboxStore], *, shared: bool = True) -> None:
    """
    Try every promise of ``InboxStore`` on stores that *make_store* makes. Takes some seconds: leases have to end.

    Each call of *make_store* returns a new store. *shared*: they are on the same place, as those of two processes are; with ``False`` the
    checks that need this are left out, which leaves the promise to other processes unproven.

    Raises:
        ConformanceError: A promise is broken.
    """
    for check in INBOX_STORE_CHECKS:
        if shared or not check.shared:
            check.run(make_store)


def _check(flow: Callable[[InboxPlace], None], *, shared: bool = False) -> InboxCheck:
    return InboxCheck(*words(flow), shared, flow)


INBOX_STORE_CHECKS: Sequence[InboxCheck] = (
    _check(inbox_keeping.keeps_every_field),
    _check(inbox_keeping.keeps_exact_bytes),
    _check(inbox_keeping.keeps_handler_states),
    _check(inbox_keeping.stores_once),
    _check(inbox_keeping.tells_events_apart),
    _check(inbox_keeping.isolates_arrivals),
    _check(inbox_keeping.requeues_parked),
    _check(inbox_keeping.keeps_the_audit_log),
    _check(inbox_keeping.keeps_values),
    _check(inbox_claiming.counts_up_in_order_of_arrival),
    _check(inbox_claiming.waits_in_order),
    _check(inbox_claiming.claims_the_head),
    _check(inbox_claiming.says_when_to_come_again),
    _check(inbox_claiming.waits_until_due),
    _check(inbox_claiming.counts_attempts),
    _check(inbox_claiming.releases),
    _check(inbox_claiming.extends),
    _check(inbox_claiming.ends_claims_with_the_lease),
    _check(inbox_claiming.fences_lost_claims),
    _check(inbox_claiming.needs_a_claim),
    _check(inbox_stepping.advances),
    _check(inbox_stepping.keeps_the_claim),
    _check(inbox_stepping.claims_next),
    _check(inbox_stepping.changes_lanes),
    _check(inbox_stepping.commits_steps),
    _check(inbox_stepping.undoes_transactions),
    _check(inbox_bundling.bundles_fresh_heads),
    _check(inbox_bundling.bundles_nothing_else),
    _check(inbox_bundling.bundles_steps),
    _check(inbox_finding.finds_by_every_field),
    _check(inbox_finding.finds_in_order),
    _check(inbox_finding.changes_the_unclaimed),
    _check(inbox_finding.audits_changes),
    _check(inbox_finding.purges_payloads),
    _check(inbox_finding.counts),
    _check(inbox_racing.stores_once_among_threads),
    _check(inbox_racing.one_claims_a_lane),
    _check(inbox_racing.loses_nothing),
    _check(inbox_racing.is_seen_by_others, shared=True),
    _check(inbox_racing.stores_once_among_others, shared=True),
    _check(inbox_racing.one_claims_a_lane_among_others, shared=True),
    _check(inbox_racing.loses_nothing_among_others, shared=True),
    _check(inbox_racing.outlives_closing, shared=True),
)
