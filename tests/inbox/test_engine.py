"""An inbox with an engine: who is told of what, what a job stands for, and what happens without it."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe._engine.inbox.scheduler import Scheduler
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.inbox import HandlerRetry, InboxConfig, WebhookInbox
from atom_stripe.protocols import Appended, EngineHealth, InboxQuery
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.testing import FaultyInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET
from tests.inbox.conftest import PATIENCE, event, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from atom_stripe.protocols import Arrival, EngineSettings, LaneQueue, Refusal, Wake


class WakingStore(MemoryInboxStore):
    """A store in memory that an engine can be told of."""

    wakes = True

    def append(self, arrivals: Sequence[Arrival | Refusal], wake: Wake | None = None, /) -> Sequence[Appended | StoreError | None]:
        results = super().append(arrivals)
        if wake is not None:
            wake("connection", [found.lane for found in results if isinstance(found, Appended)])
        return results


class FakeEngine:
    """An engine in memory. *error*: what ``nudge`` and ``run`` raise."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.woken: list[str] = []
        self.nudged: list[list[str]] = []
        self.recovered = 0
        self.settings: EngineSettings | None = None
        self.jobs: list[bool] = []
        self._lanes: LaneQueue | None = None

    def wake(self, connection: Any, lanes: Sequence[str], /) -> None:
        assert connection == "connection"
        self.woken += lanes
        self._tell(lanes)

    def nudge(self, lanes: Sequence[str], /) -> int:
        if self.error is not None:
            raise self.error
        self.nudged.append(list(lanes))
        self._tell(lanes)
        return len(lanes)

    def _tell(self, lanes: Sequence[str]) -> None:
        if self._lanes is not None:
            for lane in lanes:
                self._lanes.job(lane).add_done_callback(lambda future: self.jobs.append(future.result()))

    def health(self) -> EngineHealth:
        return EngineHealth(running=True, listening=True, restarts=0, error=None, waiting=0, recovered=self.recovered)

    def run(self, lanes: LaneQueue, stop: Event, store: Any, settings: EngineSettings, /) -> None:
        if self.error is not None:
            raise self.error
        self._lanes, self.settings = lanes, settings
        stop.wait()


def new_inbox(engine: Any, store: Any = None, **settings: Any) -> tuple[WebhookInbox, list[str]]:
    """Return an inbox whose handler notes the events."""
    metrics = settings.pop("metrics", None)
    config = InboxConfig(**{"workers": 2, "poll_interval": 0.05, "sweep_interval": 600.0, **settings})
    inbox = WebhookInbox(WebhookVerifier(WEBHOOK_SECRET), store or WakingStore(), engine=engine, config=config, metrics=metrics)
    seen: list[str] = []

    @inbox.on("*", name="note", retry=HandlerRetry.NONE)
    def note(received: Any, context: Any) -> None:
        seen.append(received.id)

    return inbox, seen


def receive(inbox: WebhookInbox, id: str, lane: str = "cus_1") -> None:
    body = json.dumps(event(id, obj={"id": lane, "object": "customer"})).encode()
    inbox.receive(body, signed(body))


def wait_for(ready: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


def test_what_is_stored_is_told_to_the_engine_alone() -> None:
    """A delivery wakes the engine in the transaction that stores it, the engine's job has it handled, and the job is done then."""
    engine = FakeEngine()
    inbox, seen = new_inbox(engine)
    with inbox, inbox.worker():
        wait_for(lambda: engine.settings)
        receive(inbox, "evt_1")
        wait_for(lambda: seen == ["evt_1"] and engine.jobs == [True])
    assert engine.woken == [inbox.store.find(InboxQuery())[0].lane]
    assert engine.nudged == []


def test_the_engine_is_given_the_settings_of_the_inbox() -> None:
    """The engine works with as many workers, as often, and for as long as the inbox's config says."""
    engine = FakeEngine()
    inbox, _ = new_inbox(engine, workers=3, sweep_interval=7.0, lease=11.0, grace=13.0)
    with inbox, inbox.worker():
        wait_for(lambda: engine.settings)
    settings = engine.settings
    assert settings is not None
    assert (settings.workers, settings.sweep_interval, settings.heartbeat_timeout, settings.grace) == (3, 7.0, 11.0, 13.0)


def test_a_worker_with_an_engine_does_not_poll() -> None:
    """What nobody told the engine of stays where it is: to find it is the affair of the engine's sweeper."""
    engine = FakeEngine()
    inbox, seen = new_inbox(engine)
    other, _ = new_inbox(None, MemoryInboxStore(inbox.store))
    with inbox, other, inbox.worker():
        wait_for(lambda: engine.settings)
        receive(other, "evt_silent")
        receive(inbox, "evt_told")
        # Both are in one lane, so the job for the second finds the first.
        wait_for(lambda: seen == ["evt_silent", "evt_told"])
    assert len(engine.woken) == 1


def test_an_engine_that_fails_is_replaced_by_looking(caplog: pytest.LogCaptureFixture) -> None:
    """When the engine's ``run`` raises, the worker says so and finds the events by itself."""
    inbox, seen = new_inbox(FakeEngine(ConfigurationError("ours")))
    with inbox, inbox.worker():
        receive(inbox, "evt_1")
        wait_for(lambda: seen == ["evt_1"])
    assert "looks for events by itself" in caplog.text


def test_what_is_replayed_is_nudged_in_one_piece() -> None:
    """Operators' batches tell the engine of all their lanes at once."""
    engine = FakeEngine()
    inbox, seen = new_inbox(engine)
    with inbox, inbox.worker():
        wait_for(lambda: engine.settings)
        receive(inbox, "evt_1")
        receive(inbox, "evt_2", "cus_2")
        wait_for(lambda: engine.jobs == [True, True])
        inbox.operations.replay([1, 2], actor="test")
        wait_for(lambda: sorted(seen) == ["evt_1", "evt_1", "evt_2", "evt_2"])
    assert [len(lanes) for lanes in engine.nudged] == [2]


def test_a_nudge_that_fails_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """If the engine takes no wake-ups, what an operator does is done, and a warning says when it will be found."""
    engine = FakeEngine(StoreError("away"))
    inbox, _ = new_inbox(engine)
    with inbox:
        receive(inbox, "evt_1")
        inbox.store.change([1], lambda record: None)
        inbox._core.wake(["lane"])
    assert "wait for the next sweep" in caplog.text


def test_an_engine_needs_a_store_that_wakes(tmp_path: Any) -> None:
    """An engine beside an inbox in memory or in SQLite is refused at once, with the reason."""
    for store in (
        MemoryInboxStore(),
        FaultyInboxStore(MemoryInboxStore()),
        SqlInboxStore.from_url(f"sqlite:///{tmp_path / 'a.db'}"),
    ):
        with pytest.raises(ConfigurationError, match="needs an inbox on PostgreSQL"):
            new_inbox(FakeEngine(), store)
    with pytest.raises(ConfigurationError, match="needs an inbox on PostgreSQL"):
        MemoryInboxStore().append([], lambda connection, lanes: None)


def test_what_the_sweeper_found_is_counted_once() -> None:
    """What the engine's sweeper recovers is told to the metrics as it grows."""
    engine = FakeEngine()
    told: list[float] = []
    metrics = SimpleNamespace(gauge=lambda *_: None, observe=lambda *_: None)
    metrics.count = lambda name, value, labels: told.append(value) if name.endswith("sweeper_recovered_total") else None
    inbox, _ = new_inbox(engine, sweep_interval=0.01, metrics=metrics)
    with inbox, inbox.worker():
        for total in (3, 5):
            engine.recovered = total
            wait_for(lambda total=total: sum(told) == total)
    assert told == [3, 2]


# What a job stands for.


def test_a_job_is_done_when_its_lane_is_empty() -> None:
    """The job of a lane lasts until a drain finds nothing to do."""
    lanes = Scheduler(time.time)
    job = lanes.job("a")
    assert lanes.take() == "a"
    lanes.finish("a", again=True)
    assert not job.done()
    assert lanes.take() == "a"
    lanes.finish("a")
    assert job.result() is True


def test_one_job_stays_for_a_busy_lane() -> None:
    """Of the jobs that come while a lane is drained one stays, until a drain that began after it has ended; the others are done at once."""
    lanes = Scheduler(time.time)
    lanes.offer("a")
    assert lanes.take() == "a"
    first, second = lanes.job("a"), lanes.job("a")
    assert (first.done(), second.result()) == (False, True)
    lanes.finish("a")
    assert not first.done()
    assert lanes.take() == "a"
    lanes.finish("a")
    assert first.result() is True


def test_a_date_is_kept_without_a_job() -> None:
    """A lane whose head is due later has no job until then; it is drained at its time, and a job that comes meanwhile does not wait for it."""
    now = [100.0]
    lanes = Scheduler(lambda: now[0])
    job = lanes.job("a")
    assert lanes.take() == "a"
    lanes.finish("a", 200.0)
    assert job.result() is True
    early = lanes.job("a")
    assert lanes.take() == "a"
    lanes.finish("a", 200.0)
    assert early.result() is True
    now[0] = 201.0
    assert lanes.take() == "a"


def test_stopping_gives_jobs_back() -> None:
    """Jobs whose lanes were not begun, or not ended, go to others; later ones too; one whose lane is empty is done."""
    lanes = Scheduler(time.time)
    cut, whole, waiting = lanes.job("cut"), lanes.job("whole"), lanes.job("waiting")
    assert [lanes.take(), lanes.take()] == ["cut", "whole"]
    lanes.stop()
    assert waiting.result() is False
    lanes.finish("cut", again=True)
    lanes.finish("whole")
    assert (cut.result(), whole.result(), lanes.job("late").result()) == (False, True, False)


def test_nobody_cancels_a_job() -> None:
    """Who waits for a job may give up; the lane is drained all the same."""
    lanes = Scheduler(time.time)
    assert not lanes.job("a").cancel()
    assert lanes.take() == "a"
