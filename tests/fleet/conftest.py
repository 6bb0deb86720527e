"""Worlds of processes around one inbox, which may be killed, and a database server that may be, too."""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.nest import Nest
from tests.fleet.servers import own_postgres
from tests.fleet.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fleet.servers import Server

# How many times as many events. ``make test`` has a tenth of these; ``make fleet`` has all, in a quiet quarter of an hour.
SCALE = float(os.environ.get("FLEET_SCALE", "1"))


@pytest.fixture(scope="session")
def nest() -> Iterator[Nest]:
    """Yield what processes come from, for the whole run: warm, so that starting one costs nothing."""
    made = Nest()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def make_world(nest: Nest) -> Iterator[Callable[..., World]]:
    """Yield a function that makes a world around the inbox at an URL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet")))

        def make(url: str, **settings: Any) -> World:
            world = World(nest, url, folder, **settings)
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture(scope="session")
def own_server() -> Iterator[Server]:
    """Yield a PostgreSQL server that a test may restart."""
    with own_postgres() as server:
        yield server


@pytest.fixture
def mortal_url(own_server: Server) -> str:
    """Return the URL of an empty database on that server."""
    return own_server.new_database(f"test_{uuid.uuid4().hex}")
