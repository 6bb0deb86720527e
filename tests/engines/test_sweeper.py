"""The sweeper, with a store of its own: what it wakes, what it leaves alone, and how often it looks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.inbox.scheduler import Scheduler
from atom_stripe.engines.sweeper import Sweeper
from atom_stripe.errors import StoreError
from atom_stripe.protocols import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence


class Store:
    """Pending events, and values."""

    def __init__(self, *events: Waiting) -> None:
        self.events = events
        self.values: dict[str, str] = {}
        self.looks = 0

    def waiting(self, after: int, limit: int) -> list[Waiting]:
        self.looks += 1
        return [event for event in self.events if event.id > after][:limit]

    def value(self, name: str) -> str | None:
        return self.values.get(name)

    def keep(self, name: str, value: str) -> None:
        self.values[name] = value


def new_sweeper(store: Any, nudge: Any = len, interval: float = 60.0) -> tuple[Sweeper, Scheduler]:
    lanes = Scheduler(time.time)
    return Sweeper(store, lanes, interval, nudge=nudge, tend=lambda: None), lanes


def test_it_wakes_lanes_whose_head_is_due_and_free() -> None:
    """A lane is woken once if its first event is due and nobody holds it; a claim that has ended holds nothing."""
    soon, past = time.time() + 100, time.time() - 100
    store = Store(
        Waiting(1, "due", None, None),
        Waiting(2, "due", None, None),
        Waiting(3, "later", soon, None),
        Waiting(4, "later", None, None),
        Waiting(5, "held", None, soon),
        Waiting(6, "abandoned", past, past),
    )
    woken: list[str] = []
    sweeper, _ = new_sweeper(store, lambda lanes: woken.extend(lanes) or len(lanes))
    assert sweeper.sweep() == 2
    assert woken == ["due", "abandoned"]
    assert sweeper.recovered == 2


def test_it_looks_through_all_pages() -> None:
    """However many events wait, every lane is found."""
    woken: list[str] = []
    store = Store(*(Waiting(number, f"lane-{number % 7000}", None, None) for number in range(1, 12_001)))
    sweeper, _ = new_sweeper(store, lambda lanes: woken.extend(lanes) or len(lanes))
    assert sweeper.sweep() == 7000
    assert len(set(woken)) == len(woken) == 7000


def test_an_engine_that_takes_nothing_is_gone_round() -> None:
    """If the engine takes no wake-ups, the lanes are drained in this process."""

    def nudge(lanes: Sequence[str]) -> int:
        raise RuntimeError(lanes)

    sweeper, lanes = new_sweeper(Store(Waiting(1, "a", None, None)), nudge)
    assert sweeper.sweep() == 1
    assert lanes.take() == "a"


def test_one_of_all_processes_sweeps() -> None:
    """Of two sweepers on one store, the second one finds that the first has looked, and waits."""
    store = Store()
    (first, _), (second, _) = new_sweeper(store), new_sweeper(store)
    assert first._turn() == 60.0
    assert 0 < second._turn() <= 60.0
    assert store.looks == 1


def test_a_moment_of_another_clock_is_not_believed() -> None:
    """A last sweep in the future, or one that is no number, keeps nobody from sweeping."""
    for value in (repr(time.time() + 1e6), "yesterday", "nan"):
        store = Store()
        store.values["engine.swept_at"] = value
        new_sweeper(store)[0]._turn()
        assert store.looks == 1


def test_a_store_that_fails_does_not_end_it() -> None:
    """After an error of the store the sweeper goes on."""
    stop = threading.Event()

    class Failing(Store):
        def value(self, name: str) -> str | None:
            self.looks += 1
            if self.looks > 1:
                stop.set()
            raise StoreError("away") if self.looks == 1 else RuntimeError("ours")

    store = Failing()
    new_sweeper(store)[0].run(stop)
    assert store.looks == 2
