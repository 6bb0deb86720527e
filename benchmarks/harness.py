"""
What a benchmark is, and how it takes turns.

Rule: ours and theirs are measured in turns, round after round, so that whatever else the machine does meets both. What counts is
the median of the rounds; how far single rounds lie apart is shown beside it.
"""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One row of the table, known before anything is measured.

    *better* says which way the ratio is read: ``"higher"`` is how many times better ours is, ``"lower"`` is what ours costs as a
    share of theirs. A row without a *target* is there to be honest about something.
    """

    name: str
    what: str
    better: Literal["higher", "lower"]
    target: float | None = None

    def met(self, ratio: float) -> bool | None:
        """Return whether *ratio* is as good as the target, ``None`` if there is none."""
        if self.target is None:
            return None
        return ratio >= self.target if self.better == "higher" else ratio <= self.target


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is written: multiplied by *scale*, then *name*. *rate*: more of it is better."""

    name: str
    scale: float = 1.0
    rate: bool = False

    def text(self, value: float) -> str:
        """Return *value* as people read it."""
        shown = value * self.scale
        return f"{shown:,.0f} {self.name}" if shown >= 100 else f"{shown:.3g} {self.name}"


MICROSECONDS = Unit("µs", 1e6)
MILLISECONDS = Unit("ms", 1e3)
MEGABYTES = Unit("MB", 1e-6)
CALLS = Unit("calls/s", rate=True)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured for one row: a value a round and side. *more* is printed below the table and kept with the results."""

    unit: Unit
    ours: list[float]
    theirs: list[float]
    more: Mapping[str, str | float] = field(default_factory=dict)

    def ratio(self, row: Row) -> float:
        """Return the ratio of the medians."""
        return self._ratio(row, median(self.ours), median(self.theirs))

    def spread(self, row: Row) -> tuple[float, float]:
        """Return the lowest and the highest ratio of a single round."""
        ratios = [self._ratio(row, ours, theirs) for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return min(ratios), max(ratios)

    def _ratio(self, row: Row, ours: float, theirs: float) -> float:
        times_better = ours / theirs if self.unit.rate else theirs / ours
        return times_better if row.better == "higher" else 1 / times_better


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time there is."""

    quick: bool

    def of(self, usual: Number, quick: Number) -> Number:
        """Return which of the two it is."""
        return quick if self.quick else usual


Measure: TypeAlias = "Callable[[Effort], dict[str, Figures]]"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A function that measures, and the rows that it fills."""

    rows: tuple[Row, ...]
    measure: Measure


BENCHMARKS: list[Benchmark] = []


def benchmark(*rows: Row) -> Callable[[Measure], Measure]:
    """Register a function that measures *rows*: it returns the figures of each by its name."""

    def register(measure: Measure) -> Measure:
        BENCHMARKS.append(Benchmark(rows, measure))
        return measure

    return register


def in_turns(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Call each contender once a round and return what each one returned. Each round begins with another one."""
    names = list(contenders)
    results: dict[str, list[Any]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(contenders[name]())
    return results


def seconds_each(functions: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, list[float]]:
    """
    Return the seconds that one call of each function takes, once for each round.

    The garbage collector runs as it does in any program. Only what was there before is kept out of its sight, so that nobody pays
    for walking through the modules of another.
    """
    share = effort.of(0.15, 0.04)
    gc.collect()
    gc.freeze()
    try:
        return in_turns({name: _timer(function, share) for name, function in functions.items()}, effort.of(15, 5))
    finally:
        gc.unfreeze()


def _timer(function: Callable[[], object], share: float) -> Callable[[], float]:
    """Return a function that calls *function* for about *share* seconds and returns the seconds of one call."""

    def timed(count: int) -> float:
        gc.collect()
        start = perf_counter()
        for _ in range(count):
            function()
        return (perf_counter() - start) / count

    timed(3)  # the first calls import and cache
    count = max(3, math.ceil(share / timed(10)))
    return lambda: timed(count)


def select(names: Iterable[str]) -> list[Benchmark]:
    """Return the benchmarks that fill any of the rows *names*, all of them for none. A name that is no row's ends the program."""
    wanted = set(names)
    if unknown := wanted - {row.name for one in BENCHMARKS for row in one.rows}:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; --list names them all")
    return [one for one in BENCHMARKS if not wanted or wanted & {row.name for row in one.rows}]
