"""What holds while many are at work at once, in one process or in several."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING

from atom_stripe.errors import ClaimLostError
from atom_stripe.protocols import InboxQuery, InboxRecord
from atom_stripe.testing._conformance.inbox_bundling import bundling
from atom_stripe.testing._conformance.inbox_place import (
    LONG,
    SHORT,
    append,
    appended,
    claimed,
    compare_arrival,
    lapse,
    outcomes,
    record,
    refused,
    step,
)
from atom_stripe.testing._conformance.stage import PATIENCE, demand, in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import Appended, Arrival, BundlingInboxStore, InboxStore, Step
    from atom_stripe.testing._conformance.inbox_place import InboxPlace

_SENDERS = 20
_CLAIMERS = 16
_WORKERS = 6
_LANES = 4
_DEPTH = 8


def stores_once_among_threads(place: InboxPlace) -> None:
    """Of twenty deliveries of one event at once, one is stored, and the others are told that they are duplicates of it."""
    _send(place, [place.open()] * _SENDERS)


def stores_once_among_others(place: InboxPlace) -> None:
    """Of several stores on one place to which one event comes at once, one stores it."""
    stores = [place.open() for _ in range(4)]
    _send(place, [stores[index % 4] for index in range(_SENDERS)])


def _send(place: InboxPlace, stores: Sequence[InboxStore]) -> None:
    for turn in range(4):
        arrivals = place.arrivals(
            3, lane=place.lane(str(turn)), type=f"turn {turn}", livemode=turn % 2 == 1, account=f"{place.account}{turn}"
        )
        found = in_threads([partial(_append, store, arrivals) for store in stores])
        for index, arrival in enumerate(arrivals):
            said = Counter(each[index].outcome for each in found)
            demand(
                said == {"stored": 1, "duplicate": len(stores) - 1},
                f"{len(stores)} deliveries of one event at once were: {', '.join(f'{number} {name}' for name, number in sorted(said.items()))}",
            )
            demand(len({each[index].id for each in found}) == 1, "deliveries of one event at once got several ids")
            rows = stores[0].find(InboxQuery(event_id=arrival.event_id, account=arrival.account))
            demand(len(rows) == 1, f"{len(rows)} rows for one event")


def _append(store: InboxStore, arrivals: Sequence[Arrival]) -> list[Appended]:
    found: list[Appended] = []
    for outcome in outcomes(store, *arrivals):
        demand(getattr(outcome, "outcome", None) in {"stored", "duplicate"}, "append() failed while others appended the same event")
        found.append(appended(outcome, outcome.outcome))
    return found


def one_claims_a_lane(place: InboxPlace) -> None:
    """Of sixteen that claim one lane at once, one gets its head, and the others nothing; likewise when a claim's time is up."""
    _claim(place, [place.open()] * _CLAIMERS)


def one_claims_a_lane_among_others(place: InboxPlace) -> None:
    """Of several stores on one place that claim one lane at once, one gets its head."""
    stores = [place.open() for _ in range(4)]
    _claim(place, [stores[index % 4] for index in range(_CLAIMERS)])


def _claim(place: InboxPlace, stores: Sequence[InboxStore]) -> None:
    store = stores[0]
    for turn in range(6):
        lane = place.lane(str(turn))
        first, second = append(store, place.arrival(f"{turn}a", lane=lane), place.arrival(f"{turn}b", lane=lane))
        if turn >= 4:
            lapse(store, claimed(store.claim(lane, "lost", SHORT), first, "lost").run_until)
        found = in_threads([partial(each.claim, lane, f"r{index}", LONG) for index, each in enumerate(stores)])
        won = [each for each in found if isinstance(each, InboxRecord)]
        demand(len(won) == 1, f"{len(won)} of {len(found)} that claimed a lane at once got an event")
        claimed(won[0], first, f"r{found.index(won[0])}")
        holder = record(store, first)
        demand(holder.run == won[0].run, "the claim that is written is not that of who got the event")
        demand(holder.attempts == 1 + (turn >= 4), f"one claim counted as {holder.attempts} attempts")
        # The same step by several, as a run that was started twice: one writes it.
        advanced = in_threads([partial(_advances, each, won[0]) for each in stores])
        demand(advanced.count(True) == 1, f"{advanced.count(True)} of {len(advanced)} wrote the step of one claim")
        claimed(store.claim(lane, "next", LONG), second, "next")


def _advances(store: InboxStore, row: InboxRecord) -> bool:
    try:
        store.advance(step(row))
    except ClaimLostError:
        return False
    return True


def loses_nothing(place: InboxPlace) -> None:
    """Several workers empty several lanes while events come: each event is handled once, in order of arrival, and never two of a lane at once."""
    _work(place, [place.open()] * _WORKERS)


def loses_nothing_among_others(place: InboxPlace) -> None:
    """Several workers, each on a store of its own on one place, empty several lanes as those of one store do."""
    _work(place, [place.open() for _ in range(_WORKERS)])


class _Journal:
    """What was handled, and whether two were at work in one lane."""

    def __init__(self) -> None:
        self.overlaps = 0
        self.handled: defaultdict[str, list[int]] = defaultdict(list)
        self.total = 0
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._failed = False
        self._progress_at = time.monotonic()

    def begin(self, row: InboxRecord) -> None:
        with self._lock:
            self.overlaps += row.lane in self._busy
            self._busy.add(row.lane)
            self.handled[row.lane].append(row.id)

    def end(self, row: InboxRecord) -> None:
        # Another has its turn here, if there is one.
        time.sleep(0)
        with self._lock:
            self._busy.discard(row.lane)
            self.total += 1
            self._progress_at = time.monotonic()

    def is_over(self, expected: int) -> bool:
        """Return whether everything was handled, or nothing more will be."""
        return self._failed or self.total >= expected or time.monotonic() > self._progress_at + PATIENCE

    def guard(self, work: Callable[[], None]) -> None:
        """Do *work*; if it fails, the others need not wait for it."""
        try:
            work()
        except BaseException:
            self._failed = True
            raise


def _work(place: InboxPlace, stores: Sequence[InboxStore]) -> None:
    lanes = [place.lane(str(index)) for index in range(_LANES)]
    journal, stored = _Journal(), defaultdict[str, list[int]](list)
    arrivals = [place.arrival(f"{depth}-{lane}", lane=lane) for depth in range(_DEPTH) for lane in lanes]
    # Half is there at the beginning, and half comes while they work.
    half = len(arrivals) // 2
    for arrival, id_ in zip(arrivals, append(stores[0], *arrivals[:half]), strict=False):
        stored[arrival.lane].append(id_)

    def send() -> None:
        for arrival in arrivals[half:]:
            stored[arrival.lane] += append(stores[0], arrival)

    def drain(number: int, store: InboxStore) -> None:
        turn, bundler = 0, bundling(store)
        while not journal.is_over(len(arrivals)):
            turn += 1
            if bundler is not None and turn % 3 == 0:
                _drain_together(bundler, f"{place.mark}{number}.{turn}", lanes, journal)
            lane = lanes[(number + turn) % len(lanes)]
            found: object = store.claim(lane, f"{place.mark}{number}.{turn}", LONG)
            while isinstance(found, InboxRecord):
                # The journal ends before the claim: after it another may begin.
                journal.begin(found)
                journal.end(found)
                found = store.advance(step(found), LONG if turn % 2 else None)

    works: list[Callable[[], None]] = [send, *(partial(drain, number, store) for number, store in enumerate(stores))]
    in_threads([partial(journal.guard, work) for work in works])
    demand(journal.total >= len(arrivals), "events are pending, and nobody can claim them")
    demand(journal.overlaps == 0, f"{journal.overlaps} times two were at work in one lane")
    for lane in lanes:
        handled = journal.handled[lane]
        demand(len(set(handled)) == len(handled), "an event was handled twice")
        demand(handled == sorted(stored[lane]), "the events of a lane were not handled in the order of their arrival")
        rows = stores[0].find(InboxQuery(lane=lane))
        demand({row.status for row in rows} == {"done"} and len(rows) == _DEPTH, "an event was handled and is not done")


def _drain_together(store: BundlingInboxStore, name: str, lanes: Sequence[str], journal: _Journal) -> None:
    steps: list[Step] = []
    for _ in range(2):
        lost, found = store.together(steps, {lane: f"{name}.{lane}" for lane in lanes}, LONG, lambda _type: True)
        demand(not lost, "together() did not write a step whose claim holds")
        steps = []
        for row in found.values():
            if isinstance(row, InboxRecord):
                journal.begin(row)
                journal.end(row)
                steps.append(step(row))
    store.together(steps, {}, LONG, lambda _type: True)


def is_seen_by_others(place: InboxPlace) -> None:
    """What one store wrote, another on the same place sees at once: events, claims, steps, audit entries and values."""
    one, other = place.open(), place.open()
    arrivals = place.arrivals(2)
    ids = append(one, *arrivals)
    for arrival, id_ in zip(arrivals, ids, strict=True):
        demand(appended(outcomes(other, arrival)[0], "duplicate").id == id_, "another store gave an event another id")
        compare_arrival(arrival, record(other, id_, payloads=True), "an event that another store wrote")
    row = claimed(one.claim(place.lane(), "r", LONG), ids[0], "r")
    refused(other.claim(place.lane(), "s", LONG), "another store's run has the lane")
    other.advance(step(row))
    claimed(one.claim(place.lane(), "s", LONG), ids[1], "s")
    other.release("s")
    claimed(one.claim(place.lane(), "t", LONG), ids[1], "t")
    one.keep(place.mark, "kept")
    demand(other.value(place.mark) == "kept", "value() missed what another store kept")


def outlives_closing(place: InboxPlace) -> None:
    """Closing a store loses nothing and may be done twice; another store on the same place goes on."""
    one = place.open()
    arrival = place.arrival()
    (id_,) = append(one, arrival)
    row = claimed(one.claim(place.lane(), "r", LONG), id_, "r")
    place.finish()
    place.finish()
    del one
    other = place.open()
    compare_arrival(arrival, record(other, id_, payloads=True), "an event whose store was closed")
    refused(other.claim(place.lane(), "s", LONG), "a run whose store was closed has the lane")
    other.advance(step(row))
