"""
The long test: ``python -m tests.fleet.soak --hours 8 --rate 200 --backend postgres``.

Events are sent without end, while processes are killed, the database is restarted and the signing secret is rolled, all at random moments. Each
minute's events are checked by themselves when they have been handled, and then deleted: what still grows, grows by itself. A line a minute says
how it goes. Exit code 0: no promise was broken and nothing has grown; 1 otherwise.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fleet.nest import PATIENCE, Nest
from tests.fleet.plan import Plan
from tests.fleet.servers import own_postgres
from tests.fleet.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.fleet.sending import Round
    from tests.fleet.servers import Server

MEGABYTE = 1024.0 * 1024.0
# What may be added to a third more of what there was: memory that is kept for the next time, files that are open for a moment.
SLACK = {"rss": 24.0, "fds": 24.0, "wal": 96.0, "store": 96.0, "engine": 64.0}
_SHOWN = 20


@dataclass
class Verdict:
    """What was found so far. *samples*: of each quantity that should not grow."""

    violations: list[str] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def sample(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.samples.setdefault(name, []).append(value)

    def grown(self) -> list[str]:
        """Return what has grown: its last quarter is far above its second one. The first is for warming up."""
        found: list[str] = []
        for name, values in self.samples.items():
            quarter = len(values) // 4
            if not quarter:
                continue
            before = statistics.median(values[quarter : 2 * quarter])
            after = statistics.median(values[-quarter:])
            if after > before * 4 / 3 + SLACK[name.split()[0]]:
                found.append(f"{name}: from {before:.0f} to {after:.0f}")
        return found

    def code(self) -> int:
        """Return the exit code."""
        return 1 if self.violations or self.grown() else 0

    def text(self) -> str:
        """Return the verdict in words."""
        parts = [f"broken: {what}" for what in self.violations[:_SHOWN]] + [f"grown: {what}" for what in self.grown()]
        return "\n".join(parts) or "no promise was broken, nothing has grown"


class Chance:
    """Something that happens every so often, at random moments. Its first time comes after half of *every* seconds at the latest."""

    def __init__(self, chance: random.Random, every: float, act: Callable[[], object]) -> None:
        self._chance = chance
        self._every = every
        self._act = act
        self._next = time.monotonic() + chance.uniform(0.1, 0.5) * every
        self.times = 0

    def look(self) -> None:
        """Do it if its time has come."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every * self._chance.uniform(0.5, 1.5)
            self._act()
            self.times += 1


class Soak:
    """One long run in *world* for *seconds*, with *rate* events a second."""

    def __init__(self, world: World, server: Server | None, *, seconds: float, rate: float, seed: int) -> None:
        self.verdict = Verdict()
        self.stopped = False
        self.events = 0
        self._world = world
        self._server = server
        self._seconds = seconds
        self._rate = rate
        self._seed = seed
        self._random = random.Random(seed)
        self._round_seconds = min(60.0, seconds / 3)
        self._sample_seconds = min(60.0, seconds / 8)
        self._open: list[tuple[Round, float]] = []
        self._numbers = 0
        self._secrets = 0
        # Those that no one kills: what leaks shows in who lives long.
        self._spared: set[str] = set()
        every = seconds / 4
        self._kills = Chance(self._random, min(20.0, every), self._kill)
        self._rolls = Chance(self._random, min(240.0, 2 * every), self._roll)
        self._outages = Chance(self._random, min(600.0, 2 * every), self._restart)

    def run(self) -> Verdict:
        """Return the verdict."""
        world = self._world
        world.start("worker", "async_worker")
        self._spared = {member.name for member in world.members}
        world.start("receiver", "async_receiver", "worker", "async_worker")
        began = time.monotonic()
        end, sampled = began + self._seconds, began
        while (time.monotonic() < end or not self._all_happened()) and not self.stopped:
            self._begin_round(end)
            self._end_rounds(wait=False)
            self._kills.look()
            self._rolls.look()
            if self._server is not None:
                self._outages.look()
            if time.monotonic() >= sampled + self._sample_seconds:
                sampled += self._sample_seconds
                self._tell(time.monotonic() - began)
            time.sleep(0.1)
        self._end_rounds(wait=True)
        self._tell(time.monotonic() - began)
        statuses = world.stop(*world.members)
        if any(statuses):
            self.verdict.violations.append(f"processes that were told to stop ended with {statuses}")
        return self.verdict

    def _all_happened(self) -> bool:
        """Return whether each fault was there: a short run on a busy machine lasts until it was."""
        return bool(self._kills.times and self._rolls.times and (self._server is None or self._outages.times))

    def _begin_round(self, end: float) -> None:
        """Send more, if all that was to be sent has been given out."""
        if self._open and not self._open[-1][0].given:
            return
        seconds = min(self._round_seconds, end - time.monotonic())
        if seconds <= 0:
            return
        plan = Plan(self._numbers, max(1, math.ceil(self._rate * seconds)), 200, self._seed)
        self._numbers += 1
        self._open.append((self._world.send(plan, rate=self._rate), time.monotonic()))

    def _end_rounds(self, *, wait: bool) -> None:
        """Check the rounds that are over, and those that take too long."""
        for entry in list(self._open):
            round_, began = entry
            late = time.monotonic() - began > 10 * self._round_seconds + PATIENCE
            if not (wait or late or (round_.given and round_.sent() and self._world.pending(round_) == 0)):
                continue
            self._open.remove(entry)
            self.verdict.violations += [f"{found.name}: {found.what}" for found in self._world.check(round_)]
            self.events += round_.checker.answered_events
            self._world.forget(round_)

    def _kill(self) -> None:
        mortal = [member for member in self._world.members if member.name not in self._spared]
        self._world.kill(self._random.choice(mortal))

    def _roll(self) -> None:
        self._secrets += 1
        self._world.rotate(f"whsec_soak{self._secrets:012}")

    def _restart(self) -> None:
        assert self._server is not None
        with self._world.outage():
            if self._random.random() < 2 / 3:
                self._server.restart()
                return
            self._server.stop()
            time.sleep(self._random.uniform(0.0, min(60.0, self._seconds / 10)))
            self._server.start()

    def _tell(self, seconds: float) -> None:
        values = self._values()
        self.verdict.sample(values)
        told = ", ".join(f"{name} {value:.0f}" for name, value in values.items())
        counts = (
            f"{self.events} events checked, {self._kills.times} kills, {self._rolls.times} secrets, {self._outages.times} restarts"
        )
        print(f"{seconds / 60:6.1f} min: {counts}, {len(self.verdict.violations)} violations; {told}", flush=True)  # noqa: T201 - a program

    def _values(self) -> dict[str, float]:
        """Return what should not grow: memory in megabytes and open files of the processes, and the sizes of what is on disk in megabytes."""
        values: dict[str, float] = {}
        for member in self._world.members:
            if member.name in self._spared:
                # Linux tells, and other systems do not: a soak there looks at the disk alone.
                process = Path(f"/proc/{member.wait_for('pid')}")
                if process.exists():
                    pages = int((process / "statm").read_text().split()[1])
                    values[f"rss {member.program}"] = pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
                    values[f"fds {member.program}"] = len(list((process / "fd").iterdir()))
        return {**values, **{name: size / MEGABYTE for name, size in self._world.sizes().items()}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.soak", description="A long run of the inbox with random faults.")
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument("--backend", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--engine", choices=["pgqueuer", "procrastinate", "none"], default="pgqueuer", help="on PostgreSQL")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    seconds = options.hours * 3600 + options.minutes * 60
    if seconds <= 0:
        parser.error("--hours or --minutes says how long")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak")))
        server, url, engine = None, f"sqlite:///{folder}/inbox.db", None
        if options.backend == "postgres":
            server = stack.enter_context(own_postgres())
            url = server.new_database("soak")
            engine = None if options.engine == "none" else options.engine
        nest = Nest()
        stack.callback(nest.close)
        world = World(nest, url, folder, engine=engine, seed=options.seed)
        stack.callback(world.close)
        soak = Soak(world, server, seconds=seconds, rate=options.rate, seed=options.seed)

        def stop(*_: Any) -> None:
            soak.stopped = True

        before = signal.signal(signal.SIGINT, stop)
        stack.callback(signal.signal, signal.SIGINT, before)
        verdict = soak.run()
    print(f"{soak.events} events: {verdict.text()}", flush=True)  # noqa: T201 - a program
    return verdict.code()


if __name__ == "__main__":
    sys.exit(main())
