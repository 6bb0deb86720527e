"""As with PgQueuer: with Procrastinate, and with no engine at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fleet.conftest import SCALE
from tests.fleet.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.servers import Server
    from tests.fleet.world import World

EVENTS = int(1000 * SCALE)


@pytest.mark.parametrize("engine", ["procrastinate", None], ids=["procrastinate", "none"])
def test_killed_processes_and_a_killed_database_lose_and_double_nothing(
    make_world: Callable[..., World], own_server: Server, mortal_url: str, engine: str | None
) -> None:
    """Of hundreds of events none is lost, doubled or handled beside another of its lane, though four processes and the database are killed."""
    world = make_world(mortal_url, engine=engine)
    world.start("receiver", "async_receiver", "worker", "async_worker")
    sent = world.send(Plan(0, EVENTS, 100))
    world.kill_on_the_way(sent, 2, until=0.4)
    with world.outage():
        own_server.restart()
    world.kill_on_the_way(sent, 2, begin=0.5)
    assert world.check(sent) == []
    assert (sent.checker.answered_events, world.kills) == (EVENTS, 4)
    assert world.stop(*world.members) == [0, 0, 0, 0]


def test_a_database_that_is_away_for_a_while_costs_nothing(
    make_world: Callable[..., World], own_server: Server, mortal_url: str
) -> None:
    """While the database is away deliveries are turned away with 503, and when it is back the same processes go on by themselves."""
    world = make_world(mortal_url, engine="pgqueuer")
    world.start("receiver", "async_receiver", "worker", "async_worker")
    before = [member.name for member in world.members]
    # So slowly that most have yet to come when the database goes.
    sent = world.send(Plan(0, 400, 50), rate=25.0)
    sent.wait_for(0.05)
    with world.outage():
        own_server.stop()
        try:
            sent.wait_until(lambda: sent.turned_away, "deliveries to be turned away")
        finally:
            own_server.start()
    assert world.check(sent) == []
    assert [member.name for member in world.members] == before
    assert world.stop(*world.members) == [0, 0, 0, 0]
