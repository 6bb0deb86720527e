"""
The drain of one lane: claim its head, run the handlers that it is due for, write down what became of each, and claim the next.

When it is not known whether a write took effect, nothing more is assumed: the claim is let go, and the row tells.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from atom_stripe._engine.inbox.flights import Claimed
from atom_stripe._engine.inbox.handling import AbandonedError, Handling
from atom_stripe._engine.inbox.loop import ReleasedError
from atom_stripe._engine.inbox.transactions import CommitUnknownError
from atom_stripe.errors import ClaimLostError, StoreError
from atom_stripe.protocols import InboxRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.inbox.flights import Flight, Flights
    from atom_stripe._engine.inbox.handling import Surroundings
    from atom_stripe.protocols import Nothing, Step

_LOGGER = logging.getLogger("atom_stripe.inbox")
# Seconds until a lane is tried again after an error of ours, or of a store that breaks its promise.
_AFTER_ERROR = 5.0


@dataclass(frozen=True, slots=True)
class Drained:
    """
    How a drain ended. *due*: when to look again, by the store's clock; *again*: at once. *abandoned*: the lane is no longer ours. *failed*: the
    store failed. *released*: the event loop has ended, and the worker with it.
    """

    due: float | None = None
    again: bool = False
    abandoned: bool = False
    failed: bool = False
    released: bool = False


class Handled(NamedTuple):
    """A claimed event after its handlers. *step*: the last one, not written yet; ``None`` if it was written with a handler's transaction."""

    claimed: Claimed
    handling: Handling
    step: Step | None


class Runner:
    """Drains lanes. *around*: what their events are handled with."""

    def __init__(self, around: Surroundings, flights: Flights) -> None:
        self.around = around
        self._store = around.store
        self._flights = flights

    def drain(
        self, lane: str, stopping: Callable[[], bool], let_go: Callable[[str], None], claimed: Claimed | None = None
    ) -> Drained:
        """
        Handle the events of *lane* that are due, one after the other, as long as its turn lasts.

        *stopping*: whether to begin no more. *let_go*: told when a handler does not end and the lane goes on without it. *claimed*: the head of
        the lane, if it is claimed already.
        """
        flight = self._flights.begin() if claimed is None else claimed.flight
        lease = self.around.config.lease

        def claim_next() -> float | None:
            # Asked when an event has been handled: stopping may have begun meanwhile.
            return None if stopping() else lease

        try:
            found: InboxRecord | Nothing | None = claimed.record if claimed else self._store.claim(lane, flight.run, lease)
            turn = self.around.config.lane_turn
            while isinstance(found, InboxRecord):
                turn -= 1
                found = self._follow(
                    self._carry_out(Claimed(found, flight), lambda: let_go(lane)), _no_more if turn < 1 else claim_next
                )
        except Exception as error:  # noqa: BLE001 - told apart there
            return self._interrupted(flight, error)
        finally:
            self._flights.end(flight)
        if found is None:
            return Drained(again=True)
        self.around.time.learn(found.now)
        return Drained(due=found.due_at)

    def handle(self, claimed: Claimed, let_go: Callable[[], None]) -> Handled | Drained:
        """Handle one event and leave its last step to the caller, as well as the end of its flight; or return what came between."""
        try:
            return self._carry_out(claimed, let_go)
        except Exception as error:  # noqa: BLE001 - told apart there
            self._flights.end(claimed.flight)
            return self._interrupted(claimed.flight, error)

    def write(self, handled: Handled) -> Drained:
        """Write the last step of *handled*, by itself, and end its flight."""
        try:
            self._follow(handled, _no_more)
        except Exception as error:  # noqa: BLE001 - told apart there
            return self._interrupted(handled.claimed.flight, error)
        finally:
            self._flights.end(handled.claimed.flight)
        return Drained(again=True)

    def _carry_out(self, claimed: Claimed, let_go: Callable[[], None]) -> Handled:
        claimed.flight.renew()
        handling = Handling(self.around, claimed, let_go)
        return Handled(claimed, handling, handling.carry_out())

    def _follow(self, handled: Handled, claim_next: Callable[[], float | None]) -> InboxRecord | Nothing | None:
        """Write the last step, and claim the next event of the lane."""
        claimed, handling, step = handled
        if step is not None:
            return handling.write(step, claim_next)
        lease = claim_next()
        return None if lease is None else self._store.claim(claimed.record.lane, claimed.flight.run, lease)

    def _interrupted(self, flight: Flight, error: Exception) -> Drained:
        """Return how a drain ended that *error* interrupted."""
        around = self.around
        if isinstance(error, AbandonedError):
            return Drained(abandoned=True)
        if isinstance(error, ClaimLostError):
            around.tally.count("claims_lost")
            _LOGGER.warning("a claim was lost to another worker; what the handler did in its transaction is undone")
            self.release(flight)
            return Drained(again=True)
        if isinstance(error, ReleasedError):
            self.release(flight)
            return Drained(released=True)
        if isinstance(error, (StoreError, CommitUnknownError)):
            around.tally.count("store_failures")
            _LOGGER.warning("the store failed; the lane is tried again: %s", error.__cause__ or error)
            self.release(flight)
            return Drained(due=around.time.now() + 1.0 + random.random(), failed=True)  # noqa: S311 - spreads load, guards nothing
        # An error of ours, or of a store that breaks its promise. The lane must not be lost for it.
        _LOGGER.error("draining a lane failed", exc_info=error)
        return Drained(due=around.time.now() + _AFTER_ERROR)

    def release(self, flight: Flight) -> bool:
        """End the claim of *flight* in the store, if it can be; otherwise it runs out."""
        try:
            self._store.release(flight.run)
        except StoreError as error:
            _LOGGER.info("a claim could not be released, and will run out: %s", error)
            return False
        return True


def _no_more() -> None:
    """Claim nothing more."""
