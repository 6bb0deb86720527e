"""What becomes of a claimed event is written at once or not at all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from atom_stripe.protocols import EVENT_STATUSES, HandlerState, InboxQuery
from atom_stripe.testing._conformance.inbox_place import (
    DONE,
    LONG,
    append,
    claimed,
    compare_handlers,
    loses,
    near,
    record,
    refused,
    step,
)
from atom_stripe.testing._conformance.stage import demand

if TYPE_CHECKING:
    from atom_stripe.testing._conformance.inbox_place import InboxPlace


class _UndoneError(Exception):
    """Ends a transaction that is not to happen."""


def _fail() -> None:
    raise _UndoneError


def advances(place: InboxPlace) -> None:
    """A step writes the handlers, the status and when the event is due, ends the claim, and returns nothing; what is finished says when."""
    store = place.open()
    for status in EVENT_STATUSES:
        lane = place.lane(status)
        first, second = append(store, place.arrival(f"a{status}", lane=lane), place.arrival(f"b{status}", lane=lane))
        row = claimed(store.claim(lane, "r", LONG), first, "r")
        handlers = {"h": HandlerState(status=status, attempts=1, error="E"), "i": HandlerState(status="done")}
        due = store.counts().now - 5.0 if status == "pending" else None
        demand(
            store.advance(step(row, status, handlers=handlers, due_at=due)) is None,
            "advance() without claim_next returned something",
        )
        row = record(store, first)
        demand(row.status == status, f"a step made an event {row.status!r} instead of {status!r}")
        compare_handlers(handlers, row, "an event after a step")
        demand(near(row.due_at, due), "a step did not write when the event is due")
        demand(row.run is None and row.run_until is None, "a step that does not keep its claim left it there")
        if status == "pending":
            demand(row.finished_at is None, "an event is finished although it is pending")
        elif status != "parked":
            demand(row.finished_at is not None, f"an event that is {status} does not say since when")
        untouched = record(store, second)
        demand(untouched.status == "pending" and untouched.attempts == 0, "a step of one event changed another")
        claimed(store.claim(lane, "s", LONG), first if status == "pending" else second, "s")


def keeps_the_claim(place: InboxPlace) -> None:
    """A step with ``keep`` is written and the claim goes on as it was: nobody else gets the lane, and another step may follow."""
    store = place.open()
    first, second = append(store, *place.arrivals(2))
    row = claimed(store.claim(place.lane(), "r", LONG), first, "r")
    for attempt in range(1, 4):
        handlers = {"h": HandlerState(attempts=attempt)}
        store.advance(step(row, "pending", handlers=handlers, keep=True))
        kept = record(store, first)
        compare_handlers(handlers, kept, "an event after a step")
        demand(kept.run == "r" and near(kept.run_until, row.run_until), "a step with keep changed the claim")
        demand(kept.attempts == 1, "a step with keep counted as another claim")
        refused(store.claim(place.lane(), "s", LONG), "a step kept the claim")
    store.advance(step(row))
    claimed(store.claim(place.lane(), "s", LONG), second, "s")


def claims_next(place: InboxPlace) -> None:
    """A step with ``claim_next`` claims the next head of the lane for the same run at once; an empty lane gives nothing, nor a head not due."""
    store = place.open()
    arrivals = [*place.arrivals(3, payload=b"\x00next"), place.arrival("x", lane=place.lane("x"))]
    ids = append(store, *arrivals)
    row = claimed(store.claim(place.lane(), "r", LONG), ids[0], "r")
    for id_ in ids[1:3]:
        now = store.counts().now
        row = claimed(store.advance(step(row), LONG), id_, "r", "advance() with claim_next")
        demand(row.payload == b"\x00next", "advance() with claim_next returned an event without its payload")
        demand(
            row.run_until is not None and row.run_until >= now + LONG - 1e-5, "advance() with claim_next claimed for another time"
        )
        demand(
            record(store, id_).run == "r" and record(store, id_).attempts == 1,
            "a claim by claim_next is not written or not counted",
        )
        refused(store.claim(place.lane(), "s", LONG), "claim_next has claimed the lane")
    due = store.counts().now + LONG
    nothing = refused(store.advance(step(row, "pending", due_at=due), LONG), "the head is not due", "advance() with claim_next")
    demand(near(nothing.due_at, due), "advance() with claim_next did not say when the head is due")
    store.change([ids[2]], lambda row: replace(row, due_at=None))
    row = claimed(store.claim(place.lane(), "s", LONG), ids[2], "s")
    nothing = refused(store.advance(step(row), LONG), "the lane is empty", "advance() with claim_next")
    demand(nothing.due_at is None, "advance() with claim_next named a time for an empty lane")
    demand(record(store, ids[3]).run is None, "advance() with claim_next claimed in another lane")


def changes_lanes(place: InboxPlace) -> None:
    """A step that moves its event to another lane lets its own go on, and the event is claimed in the other."""
    store = place.open()
    first, second, third = append(store, *place.arrivals(3))
    row = claimed(store.claim(place.lane(), "r", LONG), first, "r")
    aside = f"{place.lane()}~{first}"
    row = claimed(store.advance(step(row, "pending", lane=aside), LONG), second, "r", "advance() with claim_next and another lane")
    demand(record(store, first).lane == aside, "a step did not write the other lane")
    demand([each.lane for each in store.waiting(first - 1, 1)] == [aside], "waiting() shows an event in a lane that it left")
    store.advance(step(claimed(store.claim(aside, "s", LONG), first, "s")))
    # Kept while it moves: the claim holds up the new lane, and the old one no longer.
    other = f"{place.lane()}~{second}"
    store.advance(step(row, "pending", lane=other, keep=True))
    refused(store.claim(other, "s", LONG), "a step moved its event and kept the claim")
    claimed(store.claim(place.lane(), "s", LONG), third, "s")
    store.advance(step(row))
    demand(
        refused(store.claim(other, "s", LONG), "the lane is empty").due_at is None, "an event that is done still waits in its lane"
    )


def commits_steps(place: InboxPlace) -> None:
    """Steps in a transaction are written when it commits, all together; nothing is claimed by them."""
    store = place.open()
    lanes = [place.lane("a"), place.lane("b")]
    ids = append(store, *[place.arrival(name, lane=lane) for name, lane in zip("abc", [*lanes, lanes[0]], strict=True)])
    rows = [claimed(store.claim(lane, f"r{index}", LONG), ids[index], f"r{index}") for index, lane in enumerate(lanes)]
    with store.transaction() as connection:
        for row in rows:
            demand(store.advance(step(row), LONG, connection=connection) is None, "advance() in a transaction returned something")
    for row in rows:
        after = record(store, row.id)
        demand(after.status == "done" and after.run is None, "a step in a transaction that committed is not written")
        compare_handlers(DONE, after, "an event after a transaction")
    claimed(store.claim(lanes[0], "s", LONG), ids[2], "s")
    with store.transaction():
        pass


def undoes_transactions(place: InboxPlace) -> None:
    """An exception undoes every step of its transaction and leaves it as it was, the claims too: the same step can be written afterwards."""
    store = place.open()
    lanes = [place.lane("a"), place.lane("b")]
    ids = append(store, *[place.arrival(lane, lane=lane) for lane in lanes])
    rows = [claimed(store.claim(lane, f"r{index}", LONG), ids[index], f"r{index}") for index, lane in enumerate(lanes)]
    before = [record(store, id_) for id_ in ids]
    swallowed = False
    with suppress(_UndoneError):
        with store.transaction() as connection:
            for row in rows:
                store.advance(step(row), connection=connection)
            _fail()
        swallowed = True
    demand(not swallowed, "transaction() swallowed an exception")
    demand([record(store, id_) for id_ in ids] == before, "an exception did not undo the steps of its transaction")

    def one_of_two_lost() -> None:
        with store.transaction() as connection:
            store.advance(step(rows[0]), connection=connection)
            store.advance(replace(step(rows[1]), run="lost"), connection=connection)

    loses(store, one_of_two_lost, "advance() in a transaction")
    demand([record(store, id_) for id_ in ids] == before, "a claim that was lost did not undo the other steps of its transaction")
    for row in rows:
        store.advance(step(row))
    found = store.find(InboxQuery(account=place.account, status="done"))
    demand([row.id for row in found] == ids, "a step cannot be written after its transaction was undone")
