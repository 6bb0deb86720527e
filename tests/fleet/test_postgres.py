"""Several processes on PostgreSQL with PgQueuer, and whatever happens to them and to it: no event is lost, doubled, or overtaken within its lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fleet.conftest import SCALE
from tests.fleet.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.servers import Server
    from tests.fleet.world import World

EVENTS = int(10_000 * SCALE)


def test_killed_processes_and_a_killed_database_lose_and_double_nothing(
    make_world: Callable[..., World], own_server: Server, mortal_url: str
) -> None:
    """Of thousands of events none is lost, doubled or handled beside another of its lane, though twelve processes and the database are killed."""
    world = make_world(mortal_url, engine="pgqueuer")
    world.start("receiver", "async_receiver", "worker", "async_worker")
    sent = world.send(Plan(0, EVENTS, 300))
    world.kill_on_the_way(sent, 6, until=0.45)
    with world.outage():
        own_server.restart()
    world.kill_on_the_way(sent, 6, begin=0.5)
    assert world.check(sent) == []
    assert (sent.checker.answered_events, world.kills) == (EVENTS, 12)
    assert world.stop(*world.members) == [0, 0, 0, 0]
