"""What every engine promises, in this process: jobs live and die with their transaction, and nothing that was noted is forgotten."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from atom_stripe._engine.inbox.core import wake_of
from atom_stripe._engine.inbox.scheduler import Scheduler
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import EngineSettings
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from tests.engines.conftest import Fleet, wait_for
from tests.engines.worker import arrivals, inbox_with, new_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SETTINGS = EngineSettings(workers=2, sweep_interval=0.2, heartbeat_timeout=2.0, grace=5.0)


class Recorder:
    """Drains lanes in two threads, and notes them. *then*: what to do with each."""

    def __init__(self, then: Callable[[str], object] = lambda lane: None) -> None:
        self.lanes: list[str] = []
        self.queue = Scheduler(time.time)
        self._then = then
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(2)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (lane := self.queue.take()) is not None:
            self.lanes.append(lane)
            self._then(lane)
            self.queue.finish(lane)


@contextmanager
def running(
    engine: Any, recorder: Recorder, store: SqlInboxStore, settings: EngineSettings = SETTINGS
) -> Generator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=engine.run, args=(recorder.queue, stop, store, settings))
    recorder.start()
    thread.start()
    try:
        wait_for(lambda: engine.health().listening)
        yield stop
    finally:
        stop.set()
        recorder.queue.stop()
        thread.join()


def wake(fleet: Fleet, *lanes: str) -> None:
    with psycopg.connect(fleet.url) as connection:
        fleet.engine.wake(connection, lanes)


def count(fleet: Fleet) -> int:
    waiting: int = fleet.engine.health().waiting
    return waiting


def test_a_committed_wake_up_is_heard(fleet: Fleet) -> None:
    """The lanes of a committed transaction are drained."""
    drain = Recorder()
    with running(fleet.engine, drain, fleet.store):
        wake(fleet, "a", "b")
        wait_for(lambda: set(drain.lanes) == {"a", "b"})
        wait_for(lambda: count(fleet) == 0)


def test_a_wake_up_of_nothing_is_nothing(fleet: Fleet) -> None:
    """To wake no lanes is allowed, and leaves no job."""
    wake(fleet)
    assert count(fleet) == 0


def test_a_wake_up_rolls_back_with_its_transaction(fleet: Fleet) -> None:
    """The lanes of a transaction that was rolled back are forgotten, and those of the next one are not."""
    drain = Recorder()
    with running(fleet.engine, drain, fleet.store):
        with psycopg.connect(fleet.url) as connection:
            fleet.engine.wake(connection, ["undone"])
            connection.rollback()
        wake(fleet, "done")
        wait_for(lambda: "done" in drain.lanes)
    assert drain.lanes == ["done"]


def test_an_append_wakes_its_lanes(fleet: Fleet) -> None:
    """What the store stores has its jobs in the same transaction, one for each lane of a batch; a duplicate has none."""
    batch = fleet.append(["a", "b", "a"])
    assert count(fleet) == 2
    fleet.store.append(batch, wake_of(fleet.engine))
    assert count(fleet) == 2


def test_an_append_that_cannot_wake_stores_nothing(fleet: Fleet) -> None:
    """Without the engine's tables an append fails, and nothing is stored that nobody would be told of."""
    fleet.execute(f"DROP TABLE {fleet.jobs} CASCADE")
    with pytest.raises(StoreError, match=r"could not wake the engine.*atom-stripe db upgrade"):
        fleet.append(["a"])
    assert fleet.store.waiting(0, 10) == []


def test_a_wake_up_during_a_drain_is_not_lost(fleet: Fleet) -> None:
    """A lane that is woken while it is drained is drained once more."""
    inside, go_on = threading.Event(), threading.Event()

    def then(lane: str) -> None:
        inside.set()
        go_on.wait()

    drain = Recorder(then)
    with running(fleet.engine, drain, fleet.store):
        wake(fleet, "a")
        inside.wait()
        wake(fleet, "a")
        wait_for(lambda: count(fleet) == 1)
        go_on.set()
        wait_for(lambda: drain.lanes == ["a", "a"])


def test_a_busy_lane_does_not_keep_others_waiting(fleet: Fleet) -> None:
    """A hundred jobs for a lane that is being drained leave room for those of other lanes."""
    go_on = threading.Event()
    drain = Recorder(lambda lane: go_on.wait() and None if lane == "hot" else None)
    with running(fleet.engine, drain, fleet.store):
        for _ in range(100):
            wake(fleet, "hot")
        wake(fleet, "cold")
        wait_for(lambda: "cold" in drain.lanes)
        go_on.set()


def test_stopping_waits_for_what_has_begun(fleet: Fleet) -> None:
    """A drain that is under way ends before ``run`` does, and a lane that was not begun keeps its job."""
    inside, ended = threading.Event(), threading.Event()

    def then(lane: str) -> None:
        inside.set()
        stop.wait()
        time.sleep(0.2)
        ended.set()

    with running(fleet.engine, Recorder(then), fleet.store) as stop:
        wake(fleet, "a")
        inside.wait()
    assert ended.is_set()
    assert count(fleet) == 0


def test_stopping_does_not_wait_for_ever(postgres_url: str, name: str) -> None:
    """A drain that does not end keeps ``run`` no longer than the grace, and its job goes back to the others."""
    engine = new_engine(name, postgres_url)
    upgrade(postgres_url)
    engine.upgrade()
    inside, go_on = threading.Event(), threading.Event()

    def then(lane: str) -> None:
        inside.set()
        go_on.wait()

    with SqlInboxStore.from_url(postgres_url) as store:
        soon = EngineSettings(workers=1, grace=0.1)
        with running(engine, Recorder(then), store, soon), psycopg.connect(postgres_url, autocommit=True) as connection:
            engine.wake(connection, ["a"])
            inside.wait()
        assert engine.health().waiting == 1
        go_on.set()
        drain = Recorder()
        with running(engine, drain, store):
            wait_for(lambda: drain.lanes == ["a"])


def test_it_heals_when_its_connections_are_cut(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """After somebody ended all of its sessions, the engine begins anew and hears, and leaves no errors behind for nobody."""
    drain = Recorder()
    with running(fleet.engine, drain, fleet.store):
        fleet.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'atom-stripe'"
        )
        wait_for(lambda: fleet.engine.health().restarts and fleet.engine.health().listening)
        wake(fleet, "a")
        wait_for(lambda: drain.lanes == ["a"])
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_drain_under_way_does_not_keep_it_from_healing(fleet: Fleet) -> None:
    """While a drain takes its time, an engine that lost its connections hears of other lanes again, and the drain is not begun twice at once."""
    go_on = threading.Event()
    drain = Recorder(lambda lane: go_on.wait() and None if lane == "slow" else None)
    with running(fleet.engine, drain, fleet.store):
        wake(fleet, "slow")
        wait_for(lambda: drain.lanes == ["slow"])
        fleet.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND application_name = 'atom-stripe' AND query NOT LIKE 'LISTEN%'"
        )
        wake(fleet, "quick")
        wait_for(lambda: "quick" in drain.lanes)
        assert drain.lanes.count("slow") == 1
        go_on.set()


def test_the_jobs_of_a_dead_worker_go_to_another(fleet: Fleet) -> None:
    """A job that a worker took before it died is done by another one after the heartbeat's timeout, also without the sweeper."""
    fleet.start(1)
    wait_for(
        lambda: fleet.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'atom-stripe' AND query LIKE 'LISTEN%'")
    )
    with psycopg.connect(fleet.url, autocommit=True) as holding, holding.transaction():
        # The worker takes the job, and waits for this lock.
        holding.execute("LOCK TABLE stripe_events")
        wake(fleet, "a")
        taken = "status = 'picked'" if fleet.name == "pgqueuer" else "status = 'doing'"
        wait_for(lambda: fleet.execute(f"SELECT 1 FROM {fleet.jobs} WHERE {taken}"))  # noqa: S608 - the table of ours
        fleet.workers[0].kill()
        fleet.workers[0].wait()
    drain = Recorder()
    with running(fleet.engine, drain, fleet.store):
        wait_for(lambda: "a" in drain.lanes)


def test_the_sweeper_finds_what_nobody_was_told_of(fleet: Fleet) -> None:
    """Events that were stored without a job are handled, and counted as recovered."""
    fleet.store.append(arrivals(["a", "b"]))
    assert count(fleet) == 0
    with inbox_with(fleet.engine, fleet.store, "here").worker():
        wait_for(lambda: fleet.handled(2))
        assert fleet.engine.health().recovered == 2


def test_a_nudge_does_not_pile_up(fleet: Fleet) -> None:
    """A lane is nudged if nobody is going to look at it, and once however often it is asked for."""
    wake(fleet, "woken")
    assert fleet.engine.nudge(["a", "b", "a"]) == 2
    assert fleet.engine.nudge(["a", "b", "c", "woken"]) == 1
    assert fleet.engine.nudge([]) == 0
    assert count(fleet) == 4


def test_a_nudge_is_heard(fleet: Fleet) -> None:
    """A lane that was nudged is drained."""
    drain = Recorder()
    with running(fleet.engine, drain, fleet.store):
        assert fleet.engine.nudge(["a"]) == 1
        wait_for(lambda: drain.lanes == ["a"])


def test_one_run_at_a_time(fleet: Fleet) -> None:
    """A second ``run`` of one engine is refused."""
    with running(fleet.engine, Recorder(), fleet.store), pytest.raises(ConfigurationError, match="running in this process already"):
        fleet.engine.run(Recorder().queue, threading.Event(), fleet.store, SETTINGS)


def test_it_can_run_again(fleet: Fleet) -> None:
    """After it was stopped, an engine can be run once more."""
    for lane in ("a", "b"):
        drain = Recorder()
        with running(fleet.engine, drain, fleet.store):
            wake(fleet, lane)
            wait_for(lambda drain=drain, lane=lane: drain.lanes == [lane])
