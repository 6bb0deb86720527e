"""Several processes on one SQLite file, and whatever happens to them: no event is lost, doubled, or overtaken within its lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fleet.conftest import SCALE
from tests.fleet.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.world import World

EVENTS = int(18_000 * SCALE)


def test_killed_processes_lose_and_double_nothing(make_world: Callable[..., World], sqlite_url: str) -> None:
    """Of thousands of events none is lost, doubled or handled beside another of its lane, though twelve receivers and workers are killed."""
    world = make_world(sqlite_url)
    world.start("receiver", "async_receiver", "worker", "async_worker")
    sent = world.send(Plan(0, EVENTS, 300))
    world.kill_on_the_way(sent, 12)
    assert world.check(sent) == []
    assert (sent.checker.answered_events, world.kills) == (EVENTS, 12)
    assert world.stop(*world.members) == [0, 0, 0, 0]
