"""Where a check of an inbox does its work."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.drive import run
from atom_stripe.errors import ClaimLostError
from atom_stripe.protocols import Appended, Arrival, HandlerState, InboxQuery, InboxRecord, Nothing, Step
from atom_stripe.testing._conformance.stage import PATIENCE, ConformanceError, Stage, brief, demand, same

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import EventStatus, InboxStore

NOW = 1_700_000_000.0
# Seconds: a claim that no check outlives, and one whose end is waited for.
LONG = 600.0
SHORT = 0.2
_NEAR = 1e-5
# Text that breaks quoting, encodings and columns that count bytes.
LONG_TEXT = ("\U0001f9fe'\"\\%_{}:;\u202e\u4e2d\n" * 20)[:180]
DONE = {"h": HandlerState(status="done", attempts=1, finished_at=NOW)}
# What an arrival hands to the row.
_ARRIVED = tuple(field.name for field in fields(Arrival))


class InboxPlace(Stage):
    """It opens stores, and makes events that are this check's own."""

    def open(self) -> InboxStore:
        """Make a store."""
        store: InboxStore = self.made()
        return store

    def finish(self) -> None:
        """Close what can be closed."""
        run(self.close())

    @property
    def account(self) -> str:
        """An account that no other check has."""
        return f"acct_{self.mark}"

    def lane(self, name: str = "") -> str:
        """Return a lane that no other check has."""
        return f"{self.mark} {name}"

    def arrival(self, name: str = "", **changes: Any) -> Arrival:
        """Return an event that was never stored."""
        row = Arrival(
            event_id=f"evt_{self.mark}{name}",
            type="invoice.paid",
            account=self.account,
            livemode=False,
            lane=self.lane(),
            payload=b"{}",
            endpoint="default",
            received_at=NOW,
        )
        return replace(row, **changes)

    def arrivals(self, number: int, **changes: Any) -> list[Arrival]:
        """Return several, of one lane unless *changes* say otherwise."""
        return [self.arrival(str(index), **changes) for index in range(number)]


def append(store: InboxStore, *arrivals: Arrival) -> list[int]:
    """Store *arrivals*, all of them new, and return their ids."""
    return [appended(outcome, "stored").id for outcome in outcomes(store, *arrivals)]


def outcomes(store: InboxStore, *arrivals: Any) -> Sequence[Any]:
    found = store.append(arrivals)
    demand(len(found) == len(arrivals), f"append() of {len(arrivals)} arrivals returned {len(found)} outcomes")
    return found


def appended(outcome: object, expected: str) -> Appended:
    if not isinstance(outcome, Appended):
        msg = f"append() returned {type(outcome).__name__} instead of {expected!r}"
        raise ConformanceError(msg)
    demand(outcome.outcome == expected, f"append() said {outcome.outcome!r} instead of {expected!r}")
    demand(type(outcome.id) is int, "append() returned an id that is no integer")
    return outcome


def claimed(found: object, id_: int, run_name: str, what: str = "claim()") -> InboxRecord:
    if not isinstance(found, InboxRecord):
        msg = f"{what} did not return the head of its lane, which nobody has and which is due"
        raise ConformanceError(msg)
    demand(found.id == id_, f"{what} returned another event than the head of the lane")
    demand(found.run == run_name, f"{what} did not return under whose name the claim is")
    return found


def refused(found: object, why: str, what: str = "claim()") -> Nothing:
    if not isinstance(found, Nothing):
        msg = f"{what} returned {brief(found)} although {why}"
        raise ConformanceError(msg)
    return found


def record(store: InboxStore, id_: int, *, payloads: bool = False) -> InboxRecord:
    """Return the row of *id_*."""
    found = store.find(InboxQuery(after=id_ - 1, limit=1, payloads=payloads))
    demand(len(found) == 1 and found[0].id == id_, "find() did not return a stored event")
    return found[0]


def step(row: InboxRecord, status: EventStatus = "done", **changes: Any) -> Step:
    """Return what a run writes that has finished *row*."""
    return replace(Step(id=row.id, run=row.run or "", handlers=DONE, status=status), **changes)


def compare_arrival(arrival: Arrival, row: InboxRecord, what: str) -> None:
    for name in _ARRIVED:
        before, after = getattr(arrival, name), getattr(row, name)
        demand(same(before, after), f"{what} came back with another {name}: {brief(after)} instead of {brief(before)}")


def compare_handlers(expected: dict[str, HandlerState], row: InboxRecord, what: str) -> None:
    demand(set(row.handlers) == set(expected), f"{what} came back with other handlers: {brief(sorted(row.handlers))}")
    for name, state in expected.items():
        for field in fields(state):
            before, after = getattr(state, field.name), getattr(row.handlers[name], field.name)
            demand(
                same(before, after),
                f"a handler of {what} came back with another {field.name}: {brief(after)} instead of {brief(before)}",
            )


def loses(store: InboxStore, work: Callable[[], object], what: str) -> None:
    """Demand that *work*, which needs a claim that was lost, says so."""
    try:
        work()
    except ClaimLostError:
        return
    msg = f"{what} did not raise ClaimLostError although the claim was lost ({type(store).__name__})"
    raise ConformanceError(msg)


def lapse(store: InboxStore, until: float | None) -> None:
    """Wait until the store's clock is past *until*."""
    if until is None:
        msg = "a claim came back without the time of its end"
        raise ConformanceError(msg)
    deadline = time.monotonic() + PATIENCE
    while store.counts().now <= until:
        demand(time.monotonic() < deadline, "the clock that counts() shows did not reach the end of a short claim")
        time.sleep(SHORT / 10)


def near(one: float | None, other: float | None) -> bool:
    """Return whether two times are the same, to some microseconds, or both are missing."""
    return one is other if one is None or other is None else abs(one - other) < _NEAR
