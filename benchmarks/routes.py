"""The routes that come with the package, against routes written by hand: requests a second of one process of uvicorn."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deliveries import EVENTS, SECRET
from harness import Effort, Figures, Row, Unit, benchmark, in_turns
from processes import HERE, poster, sandbox, web_server

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMAND = (
    sys.executable,
    "-m",
    "uvicorn",
    "routes_app:application",
    "--port",
    "{port}",
    "--no-access-log",
    "--log-level",
    "warning",
)
_CONNECTIONS = 32
_PREFIX = "/api/v1/stripe"
REQUESTS = Unit("requests/s", rate=True)


@benchmark(
    Row(
        name="router_vs_handwritten",
        what="GET /customers/{id} of create_router(), against a route by hand that calls our client",
        better="higher",
        target=0.8,
    ),
    Row(
        name="router_vs_official",
        what="The same, against a route by hand that calls the official async client",
        better="higher",
        target=3,
    ),
)
def reading(effort: Effort) -> dict[str, Figures]:
    """The sandbox is in a process of its own, and what posts is in another."""
    with ExitStack() as stack:
        address, customer = stack.enter_context(sandbox())
        turns: dict[str, Callable[[], float]] = {}
        for kind in ("router", "handwritten", "official"):
            server = stack.enter_context(web_server(HERE, *_COMMAND, BENCHMARK_KIND=kind, BENCHMARK_STRIPE=address))
            ask = stack.enter_context(poster(f"{server}{_PREFIX}/customers/{customer}", _CONNECTIONS, "GET"))
            turns[kind] = _turn(ask, effort)
        taken = in_turns(turns, effort.of(7, 3))
    return {
        "router_vs_handwritten": Figures(REQUESTS, taken["router"], taken["handwritten"]),
        "router_vs_official": Figures(REQUESTS, taken["router"], taken["official"]),
    }


@benchmark(
    Row(
        name="webhook_route_vs_receive",
        what="POST /webhooks of create_router(), against a route by hand that answers after receive() alone; SQLite",
        better="higher",
        target=0.7,
    ),
)
def receiving(effort: Effort) -> dict[str, Figures]:
    """Each has a database of its own, on the same disk."""
    from atom_stripe.stores.sql import upgrade

    with ExitStack() as stack:
        turns: dict[str, Callable[[], float]] = {}
        for kind in ("webhooks", "receive"):
            url = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/stripe.db"
            upgrade(url)
            variables = {"BENCHMARK_KIND": kind, "BENCHMARK_DATABASE": url, "BENCHMARK_SECRET": SECRET}
            server = stack.enter_context(web_server(HERE, *_COMMAND, **variables))
            turns[kind] = _turn(stack.enter_context(poster(f"{server}{_PREFIX}/webhooks", _CONNECTIONS)), effort)
        taken = in_turns(turns, effort.of(7, 3))
    return {"webhook_route_vs_receive": Figures(EVENTS, taken["webhooks"], taken["receive"])}


def _turn(post: Callable[[int], float], effort: Effort) -> Callable[[], float]:
    post(_CONNECTIONS)  # imports, connections
    count = max(_CONNECTIONS, round(effort.of(2.0, 1.0) * post(8 * _CONNECTIONS)))
    return lambda: post(count)
