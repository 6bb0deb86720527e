"""Many workers on one inbox, and everything that can happen to them: no event is lost, doubled, or overtaken within its lane."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from atom_stripe._engine.inbox.core import wake_of
from atom_stripe.errors import StoreError
from tests.engines.conftest import Fleet, Server, wait_for
from tests.engines.worker import arrivals, inbox_with

if TYPE_CHECKING:
    from collections.abc import Iterator

LANES = 20


def batches(count: int, lanes: int) -> Iterator[list[str]]:
    """Yield the lanes of *count* events; a third of them are in one."""
    chosen = random.Random(4)
    for start in range(0, count, 50):
        size = min(50, count - start)
        yield ["hot" if chosen.random() < 1 / 3 else f"lane-{chosen.randrange(lanes)}" for _ in range(size)]


def fill(fleet: Fleet, count: int, lanes: int = LANES) -> None:
    for batch in batches(count, lanes):
        store(fleet, batch)


def store(fleet: Fleet, lanes: list[str]) -> None:
    """Store an event in each of *lanes*, as Stripe would: again, until it was taken."""
    new = arrivals(lanes)

    def taken() -> bool:
        try:
            fleet.store.append(new, wake_of(fleet.engine))
        except StoreError:
            return False
        return True

    wait_for(taken)


def test_three_processes_share_the_work_and_keep_the_order(fleet: Fleet) -> None:
    """A thousand events over fifty lanes and a hot one are each handled once, in order, by more than one process."""
    fleet.start(3)
    fill(fleet, 1000, 50)
    wait_for(lambda: fleet.handled(1000))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (1000, 0, 0, 0)
    assert found["workers"] > 1
    assert fleet.stop() == [0, 0, 0]


def test_killed_workers_lose_nothing(fleet: Fleet) -> None:
    """Workers that are killed at any moment leave every event to be handled once, in order."""
    fleet.start(2)
    for number, batch in enumerate(batches(1000, LANES)):
        fleet.append(batch)
        if number % 5 == 4:
            wait_for(lambda number=number: fleet.handled(50 * (number - 3)))
            fleet.kill()
    wait_for(lambda: fleet.handled(1000))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (1000, 0, 0, 0)


def test_the_engine_survives_a_crash_of_the_database(mortal_fleet: Fleet, own_server: Server) -> None:
    """After the database was killed in the middle, the same processes go on by themselves and lose nothing."""
    fleet = mortal_fleet
    fleet.start(2)
    fill(fleet, 600)
    wait_for(lambda: fleet.handled(100))
    own_server.restart()
    fill(fleet, 400)
    wait_for(lambda: fleet.handled(1000))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (1000, 0, 0, 0)
    assert [worker.poll() for worker in fleet.workers] == [None, None]
    assert fleet.stop() == [0, 0]


def test_it_listens_again_after_a_crash_of_the_database(mortal_fleet: Fleet, own_server: Server) -> None:
    """An idle engine hears notifications again after the database was killed, without anybody's help, and says that it began anew."""
    fleet = mortal_fleet
    inbox = inbox_with(fleet.engine, fleet.store, "here")
    running = threading.Thread(target=inbox.run_worker)
    running.start()
    try:
        wait_for(lambda: fleet.engine.health().listening)
        own_server.restart()
        wait_for(lambda: fleet.engine.health().restarts > 0 and fleet.engine.health().listening)
        store(fleet, ["after"])
        wait_for(lambda: fleet.handled(1))
        assert fleet.engine.health().error is not None
    finally:
        inbox.stop()
        running.join()


def test_an_engine_without_notifications_still_hears(fleet: Fleet) -> None:
    """With every notification of the engine's dropped, all events are handled."""
    fleet.execute(f"ALTER TABLE {fleet.jobs} DISABLE TRIGGER USER")
    fleet.start(2)
    fill(fleet, 300)
    wait_for(lambda: fleet.handled(300))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (300, 0, 0, 0)


def test_jobs_that_vanish_lose_nothing(fleet: Fleet) -> None:
    """Jobs that are deleted at random, and all of them at once, leave every event to be found by the sweeper."""
    fill(fleet, 300)
    assert fleet.execute(f"DELETE FROM {fleet.jobs} WHERE random() < 0.5")  # noqa: S608 - the table of ours
    fleet.start(2)
    wait_for(lambda: fleet.handled(50))
    fill(fleet, 300)
    fleet.execute(f"DELETE FROM {fleet.jobs}")  # noqa: S608 - the table of ours
    wait_for(lambda: fleet.handled(600))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (600, 0, 0, 0)


def test_an_engine_without_tables_does_not_stop_the_events(fleet: Fleet) -> None:
    """While the engine's own tables are gone, what is in the store is handled all the same."""
    fill(fleet, 100)
    fleet.execute(f"DROP TABLE {fleet.jobs} CASCADE")
    fleet.start(1)
    wait_for(lambda: fleet.handled(100))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (100, 0, 0, 0)


def test_a_worker_that_ends_in_order_leaves_the_rest_to_others(fleet: Fleet) -> None:
    """A worker that is told to stop ends with code 0, and what it did not begin another one does at once."""
    fleet.start(1)
    fill(fleet, 500)
    wait_for(lambda: fleet.handled(20))
    assert fleet.stop() == [0]
    fleet.workers.clear()
    fleet.start(1)
    wait_for(lambda: fleet.handled(500))
    found = fleet.report()
    assert (found["effects"], found["doubled"], found["disordered"], found["overlaps"]) == (500, 0, 0, 0)
