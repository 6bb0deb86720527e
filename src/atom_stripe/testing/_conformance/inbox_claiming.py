"""Of one lane one event is claimed at a time, the earliest first, until the claim ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atom_stripe.testing._conformance.inbox_place import (
    DONE,
    LONG,
    SHORT,
    append,
    appended,
    claimed,
    compare_arrival,
    lapse,
    loses,
    near,
    outcomes,
    record,
    refused,
    step,
)
from atom_stripe.testing._conformance.stage import demand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe.protocols import EventStatus, InboxRecord, InboxStore
    from atom_stripe.testing._conformance.inbox_place import InboxPlace


def counts_up_in_order_of_arrival(place: InboxPlace) -> None:
    """Ids count up in the order of arrival, within a batch and from batch to batch; duplicates disturb nothing."""
    store = place.open()
    arrivals = place.arrivals(12)
    # Not the order of their names.
    arrivals = arrivals[::2] + arrivals[1::2]
    ids: list[int] = []
    for end in (5, 6, 12):
        outcome = outcomes(store, *arrivals[:end])
        ids += [appended(each, "stored").id for each in outcome[len(ids) :]]
    demand(ids == sorted(set(ids)), "the ids do not count up in the order of arrival")
    for arrival, id_ in zip(arrivals, ids, strict=True):
        compare_arrival(arrival, record(store, id_, payloads=True), "an event")


def waits_in_order(place: InboxPlace) -> None:
    """``waiting`` shows every pending event once, in order, page by page: those that are claimed or due later too, and no others."""
    store = place.open()
    ids = [append(store, place.arrival(str(index), lane=place.lane(str(index))))[0] for index in range(6)]
    row = claimed(store.claim(place.lane("1"), "r", LONG), ids[1], "r")
    due = store.counts().now + LONG
    statuses: dict[int, EventStatus] = {2: "done", 3: "pending", 4: "parked"}
    for index, status in statuses.items():
        held = claimed(store.claim(place.lane(str(index)), "r", LONG), ids[index], "r")
        store.advance(replace(step(held), status=status, due_at=due if index == 3 else None))
    expected = [ids[0], ids[1], ids[3], ids[5]]
    found = {each.id: each for each in store.waiting(ids[0] - 1, 1_000)}
    demand(sorted(found) == list(found), "waiting() did not return events in the order of their ids")
    demand([id_ for id_ in found if id_ in ids] == expected, "waiting() did not return the pending events")
    for index in (0, 1, 3, 5):
        demand(found[ids[index]].lane == place.lane(str(index)), "waiting() returned an event with another lane")
    until = found[ids[1]].run_until
    demand(until is not None and near(until, row.run_until), "waiting() did not return when a claim ends")
    demand(found[ids[0]].due_at is None and found[ids[0]].run_until is None, "waiting() made up times for an event that nobody has")
    later = found[ids[3]].due_at
    demand(near(later, due), "waiting() did not return when an event is due")
    paged: list[int] = []
    after = ids[0] - 1
    while page := store.waiting(after, 3):
        demand(len(page) <= 3 and page[-1].id > after, "waiting() did not keep to its limit, or did not go on behind an id")
        paged += [each.id for each in page]
        after = page[-1].id
    demand(paged == list(found), "pages of waiting() did not show each event once, in order")


def claims_the_head(place: InboxPlace) -> None:
    """Of a lane only the earliest pending event is claimed, complete and with its payload, and nothing more while it is; other lanes go on."""
    store = place.open()
    arrivals = [*place.arrivals(3, payload=b"\x00\xff"), place.arrival("x", lane=place.lane("x"))]
    ids = append(store, *arrivals)
    lane = place.lane()
    empty = refused(store.claim(place.lane("never"), "r", LONG), "the lane is empty")
    demand(empty.due_at is None, "claim() named a time for an empty lane")
    for index, id_ in enumerate(ids[:3]):
        row = claimed(store.claim(lane, f"r{index}", LONG), id_, f"r{index}")
        compare_arrival(arrivals[index], row, "a claimed event")
        for name in ("other", f"r{index}"):
            refused(store.claim(lane, name, LONG), "another event of the lane is claimed")
        if index == 0:
            claimed(store.claim(place.lane("x"), "x", LONG), ids[3], "x")
        store.advance(step(row))
    demand(refused(store.claim(lane, "r", LONG), "the lane is empty").due_at is None, "claim() named a time for an empty lane")


def says_when_to_come_again(place: InboxPlace) -> None:
    """Who finds a lane taken is told when the claim on it ends, by the store's clock, which is the one that claims and counts go by."""
    store = place.open()
    (id_,) = append(store, place.arrival())
    before = store.counts().now
    row = claimed(store.claim(place.lane(), "r", LONG), id_, "r")
    nothing = refused(store.claim(place.lane(), "s", LONG), "the lane is taken")
    after = store.counts().now
    demand(before <= nothing.now <= after, "the store's times go back")
    demand(
        row.run_until is not None and before + LONG - 1e-5 <= row.run_until <= after + LONG + 1e-5,
        "a claim does not end after the seconds that it was made for",
    )
    demand(near(nothing.due_at, row.run_until), "claim() did not say when the lane's claim ends")
    demand(near(record(store, id_).run_until, row.run_until), "find() did not return when the claim ends")


def waits_until_due(place: InboxPlace) -> None:
    """An event is not claimed before it is due, and what came after it in its lane does not overtake it; what was due earlier is claimed."""
    store = place.open()
    first, second = append(store, *place.arrivals(2))
    row = claimed(store.claim(place.lane(), "r", LONG), first, "r")
    due = store.counts().now + LONG
    store.advance(step(row, "pending", due_at=due))
    nothing = refused(store.claim(place.lane(), "s", LONG), "the head of the lane is not due")
    demand(near(nothing.due_at, due), "claim() did not say when the head is due")
    demand(nothing.now < due, "the store's times do not fit together")
    store.change([first], lambda row: replace(row, due_at=nothing.now - 1.0))
    row = claimed(store.claim(place.lane(), "s", LONG), first, "s")
    store.advance(step(row))
    claimed(store.claim(place.lane(), "s", LONG), second, "s")


def counts_attempts(place: InboxPlace) -> None:
    """Every claim counts as an attempt of the event, and is written before it is returned; nothing takes it back."""
    store = place.open()
    (id_,) = append(store, place.arrival())
    for attempt in range(1, 6):
        row = claimed(store.claim(place.lane(), "r", LONG), id_, "r")
        written = record(store, id_)
        demand(row.attempts == attempt, f"the claim number {attempt} returned {row.attempts} attempts")
        demand(written.attempts == attempt, f"after {attempt} claims, {written.attempts} attempts are written")
        demand(written.run == "r", "the claim is not written")
        if attempt % 2:
            store.release("r")
        else:
            store.advance(step(row, "pending"))
    demand(record(store, id_).attempts == 5, "the end of a claim changed the number of attempts")


def releases(place: InboxPlace) -> None:
    """``release`` ends a claim: the event is as it was, the next run claims it, and who released it writes nothing more; foreign claims stay."""
    store = place.open()
    ids = append(store, place.arrival("a"), place.arrival("x", lane=place.lane("x")))
    row = claimed(store.claim(place.lane(), "r", LONG), ids[0], "r")
    claimed(store.claim(place.lane("x"), "x", LONG), ids[1], "x")
    store.release("nobody")
    refused(store.claim(place.lane(), "s", LONG), "release() was called for another run")
    store.release("r")
    left = record(store, ids[0])
    demand(left.run is None and left.run_until is None, "an event still carries a claim that was released")
    demand(left.status == "pending" and dict(left.handlers) == {}, "release() changed more than the claim")
    loses(store, lambda: store.advance(step(row)), "advance() after release()")
    claimed(store.claim(place.lane(), "s", LONG), ids[0], "s")
    refused(store.claim(place.lane("x"), "s", LONG), "release() was called for another run")


def extends(place: InboxPlace) -> None:
    """``extend`` lets claims last that many seconds from now on, longer or shorter: those of the runs it names, and no others."""
    store = place.open()
    lanes = [place.lane(str(index)) for index in range(3)]
    ids = append(store, *[place.arrival(str(index), lane=lane) for index, lane in enumerate(lanes)])
    held = [claimed(store.claim(lane, f"r{index}", LONG), ids[index], f"r{index}") for index, lane in enumerate(lanes)]
    before = store.counts().now
    store.extend(["r0", "nobody"], LONG * 2)
    store.extend(["r2"], SHORT)
    store.extend([], LONG * 9)
    longer, same, shorter = (record(store, id_) for id_ in ids)
    demand(
        longer.run_until is not None and before + LONG * 2 - 1e-5 <= longer.run_until <= store.counts().now + LONG * 2 + 1e-5,
        "extend() did not let a claim last that many seconds from now on",
    )
    demand(near(same.run_until, held[1].run_until), "extend() changed the claim of a run that it did not name")
    store.advance(step(held[0]))
    lapse(store, shorter.run_until)
    claimed(store.claim(lanes[2], "s", LONG), ids[2], "s")
    loses(store, lambda: store.advance(step(held[2])), "advance() after the lease")


def ends_claims_with_the_lease(place: InboxPlace) -> None:
    """A claim ends with its lease, by the store's clock: the next run claims the same event, whether the first is alive or not."""
    store = place.open()
    first, second = append(store, *place.arrivals(2))
    row = claimed(store.claim(place.lane(), "r", SHORT), first, "r")
    lapse(store, row.run_until)
    taken = claimed(store.claim(place.lane(), "s", LONG), first, "s")
    demand(taken.attempts == 2, "the second claim of an event is not counted")
    refused(store.claim(place.lane(), "r", LONG), "another run has taken the lane over")
    store.advance(step(taken))
    claimed(store.claim(place.lane(), "r", LONG), second, "r")


def fences_lost_claims(place: InboxPlace) -> None:
    """Who lost a claim writes nothing more: not a step, not in a transaction, no longer lease, no release, no next claim."""
    store = place.open()
    for taken in (True, False):
        lane = place.lane(str(taken))
        first, second = append(store, place.arrival(f"a{taken}", lane=lane), place.arrival(f"b{taken}", lane=lane))
        row = claimed(store.claim(lane, "lost", SHORT), first, "lost")
        lapse(store, row.run_until)
        if taken:
            claimed(store.claim(lane, "holder", LONG), first, "holder")
        before = (record(store, first), record(store, second))
        _try_without_claim(store, row, [*zip((first, second), before, strict=True)])
        if not taken:
            claimed(store.claim(lane, "holder", LONG), first, "holder")


def needs_a_claim(place: InboxPlace) -> None:
    """A step needs the claim of its own run: not another's, not one that a step has ended, not one that never was."""
    store = place.open()
    first, second = append(store, *place.arrivals(2))
    row = claimed(store.claim(place.lane(), "r", LONG), first, "r")
    before = (record(store, first), record(store, second))
    for wrong in (
        replace(step(row), run="lost"),
        replace(step(row), run=""),
        replace(step(row), id=second),
        replace(step(row), id=2**40),
    ):
        loses(store, lambda wrong=wrong: store.advance(wrong), "advance() of another's event")  # type: ignore[misc]
        loses(store, lambda wrong=wrong: store.advance(wrong, LONG), "advance() of another's event")  # type: ignore[misc]
    demand(before == (record(store, first), record(store, second)), "a step without a claim was written")
    store.advance(step(row))
    loses(store, lambda: store.advance(step(row, "pending")), "advance() of an event whose claim a step has ended")
    demand(record(store, first).status == "done", "a step without a claim was written")


def _try_without_claim(store: InboxStore, row: InboxRecord, before: Sequence[tuple[int, InboxRecord]]) -> None:
    lost = step(row, handlers=DONE)

    def in_transaction() -> None:
        with store.transaction() as connection:
            store.advance(lost, connection=connection)

    def check(what: str) -> None:
        unchanged = all(record(store, id_) == row for id_, row in before)
        demand(unchanged, f"{what} of a run whose claim was lost changed something")

    for what, work in (
        ("advance()", lambda: store.advance(lost)),
        ("advance() with keep", lambda: store.advance(replace(lost, keep=True, status="pending"))),
        ("advance() with claim_next", lambda: store.advance(lost, LONG)),
        ("advance() in a transaction", in_transaction),
    ):
        loses(store, work, what)
        check(what)
    store.extend(["lost"], LONG)
    check("extend()")
    store.release("lost")
    check("release()")
