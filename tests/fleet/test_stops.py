"""Processes that are told to stop, in the middle of their work: what they began they end, or hand back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fleet.checker import Clash, Start
from tests.fleet.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.world import World


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> World:
    """Return a world around each kind of database in turn; a claim in it outlasts every test, so that only what is handed back goes on."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return make_world(url, lease=900.0)


def test_what_runs_when_a_process_is_stopped_ends(world: World) -> None:
    """Stopped under load, each process ends with 0 when what it began has ended; nothing is lost, and nothing runs twice for it."""
    world.start("receiver", "async_receiver", "worker", "async_worker")
    sent = world.send(Plan(0, 1200, 100))
    for number, member in enumerate(list(world.members)):
        sent.wait_for(0.15 * (number + 1))
        assert world.stop(member) == [0], member.program
        world.start(member.program)
    assert world.check(sent) == []
    assert not [line for line in world.journal.read(0) if isinstance(line, Clash)]
    assert world.stop(*world.members) == [0, 0, 0, 0]


@pytest.mark.parametrize("program", ["worker", "async_worker"])
def test_what_outlasts_the_grace_is_handed_back(world: World, program: str) -> None:
    """Handlers that do not end in time are handed back at once: another process handles their events, long before the claims would have ended."""
    world.grace = 0.5
    world.start("receiver", program)
    (worker,) = world.workers()
    plan = Plan(0, 4, 1000, stuck=True)
    sent = world.send(plan)
    sent.wait_until(lambda: begun(world) == plan.events, "the handlers to begin")
    assert world.stop(worker) == [0]
    assert begun(world) == plan.events
    world.grace = 60.0
    world.start(program)
    assert world.check(sent) == []


def begun(world: World) -> int:
    """Return how many runs have begun."""
    return sum(isinstance(line, Start) for line in world.journal.read(0))
