"""Calls against a server on this machine: ``payment_intents.create`` with the same parameters and the same answer."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from harness import CALLS, Effort, Figures, Row, benchmark, in_turns
from processes import caller, server

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTENDERS = ("official", "httpx", "fast")


@benchmark(
    Row(
        name="async_fast_vs_stripe",
        what="32 calls at a time, transport='fast', against stripe.HTTPXClient",
        better="higher",
        target=5,
    ),
    Row(
        name="async_vs_stripe",
        what="32 calls at a time, transport='httpx', against stripe.HTTPXClient",
        better="higher",
        target=1.1,
    ),
)
def async_calls(effort: Effort) -> dict[str, Figures]:
    """Compare the async clients, on asyncio's own event loop."""
    return _compare("async", effort)


@benchmark(
    Row(
        name="sync_fast_vs_stripe", what="One call after the other, transport='fast', against the official default", better="higher"
    ),
    Row(name="sync_vs_stripe", what="One call after the other, transport='httpx', against the official default", better="higher"),
)
def sync_calls(effort: Effort) -> dict[str, Figures]:
    """Compare the sync clients in one thread. The official default is requests, which stripe brings with it."""
    return _compare("sync", effort)


def _compare(colour: str, effort: Effort) -> dict[str, Figures]:
    with ExitStack() as stack:
        url = stack.enter_context(server())
        turns = {}
        for name in _CONTENDERS:
            calls = stack.enter_context(caller(colour, name, url))
            calls(100)  # imports, connections, caches
            usual = calls(256)["seconds"] / 256
            turns[name] = _turn(calls, max(64, round(effort.of(0.7, 0.2) / usual)))
            turns[name]()
        taken = in_turns(turns, effort.of(9, 3))
    rates = {name: [rate for rate, _ in rounds] for name, rounds in taken.items()}
    cpu = {name: median(microseconds for _, microseconds in rounds) for name, rounds in taken.items()}
    return {
        f"{colour}_{'fast_' if name == 'fast' else ''}vs_stripe": Figures(
            CALLS,
            rates[name],
            rates["official"],
            {"our CPU per call in µs": round(cpu[name], 1), "their CPU per call in µs": round(cpu["official"], 1)},
        )
        for name in ("fast", "httpx")
    }


def _turn(calls: Callable[[int], dict[str, float]], count: int) -> Callable[[], tuple[float, float]]:
    """Return what takes one turn: it returns the calls per second, and the CPU per call in microseconds."""

    def turn() -> tuple[float, float]:
        taken = calls(count)
        return count / taken["seconds"], taken["cpu"] / count * 1e6

    return turn
