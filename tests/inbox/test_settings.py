"""Settings, and the small parts of the core on their own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from atom_stripe._engine.inbox.flights import Flights
from atom_stripe._engine.inbox.scheduler import Scheduler
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.inbox import HandlerRetry, InboxConfig, Park, Retry
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from tests.canary import MARK


@pytest.mark.parametrize(
    "settings",
    [
        {"livemode": "live"},
        {"max_body_bytes": 0},
        {"max_header_length": 1.5},
        {"queue_length": True},
        {"writers": 0},
        {"workers": -1},
        {"lane_turn": 0},
        {"accept_timeout": 0},
        {"lease": float("nan")},
        {"poll_interval": float("inf")},
        {"sweep_interval": "30"},
        {"retry_after": -1},
        {"refusals_per_second": -0.1},
        {"overrun": None},
        {"grace": -5},
        {"retry": 3},
        {"timeout": 0},
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any]) -> None:
    """A setting that cannot work is refused when the config is made, by its name."""
    (name,) = settings
    with pytest.raises(ConfigurationError, match=name):
        InboxConfig(**settings)


@pytest.mark.parametrize(
    "settings", [{"attempts": 0}, {"attempts": True}, {"initial_delay": -1.0}, {"max_delay": float("inf")}, {"jitter": 1.1}]
)
def test_a_wrong_retry_is_refused(settings: dict[str, Any]) -> None:
    """A policy that would never end, or go back in time, is refused."""
    with pytest.raises(ConfigurationError, match="HandlerRetry"):
        HandlerRetry(**settings)


def test_delays_double_up_to_a_bound() -> None:
    """The wait doubles up to its bound, a share of it is random, and a thousand attempts do not overflow."""
    policy = HandlerRetry(attempts=2000, initial_delay=2.0, max_delay=60.0, jitter=0.5)
    assert [policy.delay(attempt, 0.0) for attempt in (1, 2, 3, 6, 2000)] == [2.0, 4.0, 8.0, 60.0, 60.0]
    assert policy.delay(2, 1.0) == 2.0
    assert HandlerRetry.NONE.attempts == 1


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), 10**9])
def test_retry_takes_a_sensible_time(after: float) -> None:
    """``Retry`` takes seconds that lie ahead, a year at most."""
    with pytest.raises(ConfigurationError):
        Retry(after=after)


def test_instructions_carry_what_they_say() -> None:
    """``Retry`` and ``Park`` keep what they were given."""
    assert Retry().after is None
    assert Retry(after=0).after == 0
    assert Park("no such customer").reason == "no such customer"


def test_reprs_show_no_secret(world: Any) -> None:
    """The repr of an inbox says what it is, and nothing of its secrets."""
    inbox = world.open()
    inbox.on("*", name="h")(world.handler(lambda event, context: None))
    assert repr(inbox) == f"{type(inbox).__name__}(1 handlers, endpoints default)"
    assert MARK not in repr(inbox)
    assert inbox.store is world.store
    assert inbox.config.workers == 3


def test_an_inbox_closes_itself(world: Any, make: Any) -> None:
    """As a context manager an inbox stores what it was given and then takes no more."""
    from atom_stripe.errors import ClientClosedError

    inbox = world.open()

    def program() -> None:
        with inbox:
            """Nothing to receive."""

    async def program_async() -> None:
        async with inbox:
            """Nothing to receive."""

    world.call(program if world.colour == "sync" else program_async)
    with pytest.raises(ClientClosedError):
        world.receive(make.event())


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lanes_take_turns() -> None:
    """Lanes are drained in the order in which they were offered, each once, and one whose turn is over goes to the end."""
    scheduler = Scheduler(Clock())
    for lane in "abab":
        scheduler.offer(lane)
    assert scheduler.take() == "a"
    scheduler.finish("a", again=True)
    assert [scheduler.take(), scheduler.take()] == ["b", "a"]
    scheduler.finish("a")
    scheduler.finish("b")
    assert len(scheduler) == 0


def test_what_comes_while_a_lane_runs_is_not_lost() -> None:
    """A wake-up for a lane that is being drained makes it be looked at once more, even if the drain found it to be empty."""
    scheduler = Scheduler(Clock())
    scheduler.offer("a")
    assert scheduler.take() == "a"
    scheduler.offer("a")
    scheduler.offer("a", 500.0)
    scheduler.finish("a", None)
    assert scheduler.take() == "a"
    scheduler.finish("a", None)
    assert len(scheduler) == 0


def test_a_lane_waits_until_it_is_due() -> None:
    """A lane that is due later comes later; a call for an earlier time, or for now, counts, and one for a later time does not."""
    clock = Clock()
    scheduler = Scheduler(clock)
    scheduler.offer("late", 300.0)
    scheduler.offer("late", 400.0)
    scheduler.offer("soon", 200.0)
    scheduler.offer("late", 250.0)
    scheduler.offer("now")
    assert scheduler.take() == "now"
    clock.now = 200.0
    assert scheduler.take() == "soon"
    clock.now = 250.0
    assert scheduler.take() == "late"
    scheduler.finish("late", 300.0)
    scheduler.offer("late")
    assert scheduler.take() == "late"


def test_a_waiting_thread_is_woken() -> None:
    """A thread that waits for work gets the next lane, and ``None`` when the scheduler stops."""
    scheduler = Scheduler(Clock())
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.extend([scheduler.take(), scheduler.take()]))
    thread.start()
    scheduler.offer("a")
    while not taken and thread.is_alive() and len(scheduler) == 1 and scheduler._queue:
        """Until it has been taken."""
    scheduler.stop()
    thread.join()
    assert taken == ["a", None]


def test_renewals_survive_a_store_that_is_away(make: Any) -> None:
    """When claims cannot be renewed the heartbeat goes on, and renews them when it can."""
    calls: list[Any] = []

    class Away(MemoryInboxStore):
        def extend(self, runs: Any, lease: float, /) -> None:
            calls.append(runs)
            if len(calls) == 1:
                msg = "away"
                raise StoreError(msg)
            if len(calls) == 2:
                raise LookupError

    flights = Flights(Away(), InboxConfig(lease=0.06))
    flight = flights.begin()
    flights.start()
    make.wait_for(lambda: len(calls) >= 4)
    flights.stop()
    assert calls[0] == [flight.run]


def test_a_flight_is_abandoned_once() -> None:
    """Of the handler's end and of giving up on it, whichever comes first counts."""
    flights = Flights(MemoryInboxStore(), InboxConfig())
    flight = flights.begin()
    assert flight.abandon(late_only=True) is None
    flight.begin(0.0, lambda: None)
    assert flight.end()
    flight.begin(0.0, lambda: None)
    assert flight.abandon(late_only=True) is not None
    assert flight.abandon(late_only=False) is None
    assert not flight.end()


def test_replacements_are_bounded(sync_world: Any, make: Any) -> None:
    """Threads whose handlers never end are replaced so many times and not without end."""
    from atom_stripe._engine.inbox import worker as module

    inbox = sync_world.open()
    worker = inbox._core._begin(lambda: None)
    spawned: list[str] = []
    worker._spawn = lambda target, name: spawned.append(name)
    for _ in range(module._MOST_REPLACED + 10):
        worker._replace("lane")
    assert len(spawned) == module._MOST_REPLACED


def test_a_defect_in_a_store_costs_no_lane(sync_world: Any, make: Any) -> None:
    """A store that raises what it may not does not end a worker's thread."""

    class Defect(MemoryInboxStore):
        broken = True

        def claim(self, lane: str, run: str, lease: float, /) -> Any:
            if self.broken:
                self.broken = False
                raise ZeroDivisionError
            return super().claim(lane, run, lease)

    sync_world.store = Defect()
    inbox, seen = sync_world.open(workers=1), []
    inbox.on("*", name="h")(lambda event, context: seen.append(event.id))
    sync_world.receive(make.event())

    def again() -> Any:
        inbox._core.wake([sync_world.only().lane])
        return seen

    sync_world.work(again)
    assert seen == ["evt_1"]
