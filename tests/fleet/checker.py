"""
What an inbox has promised, as a model: told what was answered, what ran and what is in the database, it names what is broken.

It asks nobody and knows no database, so that a test can tell it any history. Those who tell it share one machine, and so its clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from atom_stripe.protocols import InboxRecord
    from tests.fleet.plan import Rule

Name = Literal[
    "lost", "unhandled", "doubled", "doubled row", "overlap", "order", "uncounted", "rerun", "refused", "unaudited", "invented"
]
"""
What can be broken. ``lost``: answered with 2xx, and not in the store. ``unhandled``: stored, and not handled by each handler. ``doubled``: a
handler's effect is there twice. ``doubled row``: an event is there twice. ``overlap``: two events of a lane at once. ``order``: one that was
answered later overtook another of its lane. ``uncounted``: a run that is not among the attempts. ``rerun``: a run more than failures, kills and
restarts explain. ``refused``: a good delivery was answered with 4xx. ``unaudited``: a delivery that was answered is not in the log.
``invented``: what nobody sent or ran.
"""

Outcome = Literal["ok", "failed", "parked", "cancelled", "error"]
"""How a run ended, by its own account: as planned with an exception, with ``Park``, cancelled, or with an exception that nobody planned."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    name: Name
    what: str


@dataclass(frozen=True, slots=True)
class Start:
    """A handler began. *run*: a number that nothing else of *worker* has. *claimed*: when the event was claimed."""

    worker: str
    run: int
    row: int
    event: str
    lane: str
    handler: str
    attempt: int
    claimed: float


@dataclass(frozen=True, slots=True)
class End:
    """A run ended, before its effect was committed."""

    worker: str
    run: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Clash:
    """A run found that *holder*, a worker, was at work on its lane; *where*: in the handler's code or in its transaction."""

    worker: str
    run: int
    holder: str
    where: str


@dataclass(frozen=True, slots=True)
class Incident:
    """
    Something was done to the world. ``kill``, ``stop``: to *worker*, written down before it happens. ``outage``, ``healed``: to the database.
    """

    kind: Literal["kill", "stop", "outage", "healed"]
    worker: str = ""


Line = Start | End | Clash | Incident


@dataclass(frozen=True, slots=True)
class Effect:
    """What a handler left behind in its transaction."""

    event: str
    handler: str


@dataclass(slots=True)
class _Event:
    type: str
    answers: int = 0
    first: float | None = None
    deliveries: int = 0


@dataclass(slots=True)
class _Run:
    """*place*: where in the journal it began."""

    start: Start
    place: int
    ended: int | None = None
    outcome: Outcome | None = None


@dataclass(slots=True)
class Checker:
    """
    One round of events, from the first delivery to the last row. *threads*: how many handlers run at once in a worker.

    *hopeless*: whether an event is meant to be parked by a handler.
    """

    rules: dict[str, Rule]
    threads: int
    hopeless: Callable[[str, str], bool]
    _events: dict[str, _Event] = field(default_factory=dict)
    _refused: list[str] = field(default_factory=list)
    _lines: list[Line] = field(default_factory=list)
    _rows: list[InboxRecord] = field(default_factory=list)
    _effects: Counter[Effect] = field(default_factory=Counter)
    _logged: Counter[tuple[int, str]] = field(default_factory=Counter)

    # What it is told.

    def sends(self, event: str, type_: str) -> None:
        """*event* is about to be delivered, perhaps not for the first time."""
        self._events.setdefault(event, _Event(type_)).deliveries += 1

    def answered(self, event: str, status: int, at: float) -> None:
        """A delivery of *event* was answered at *at*."""
        known = self._events[event]
        if 200 <= status < 300:
            known.answers += 1
            known.first = at if known.first is None else min(at, known.first)
        elif 400 <= status < 500:
            self._refused.append(f"{event}: {status}")

    def ran(self, lines: Iterable[Line]) -> None:
        """What the journal says, in the order in which it happened."""
        self._lines.extend(lines)

    def found(self, rows: Iterable[InboxRecord], effects: Iterable[Effect], deliveries: Iterable[tuple[int, str, int]]) -> None:
        """
        What the database says when all is over.

        *deliveries*: how many there were, by the event's row and by their outcome.
        """
        self._rows.extend(rows)
        self._effects.update(effects)
        for row, outcome, count in deliveries:
            self._logged[row, outcome] += count

    @property
    def answered_events(self) -> int:
        """How many events were answered with 2xx."""
        return sum(event.answers > 0 for event in self._events.values())

    # What it concludes.

    def violations(self) -> list[Violation]:
        """Return what is broken."""
        runs = self._runs()
        return [
            *(Violation("refused", what) for what in self._refused),
            *self._stored(),
            *self._handled(),
            *self._audited(),
            *self._overlapped(runs),
            *self._ordered(runs),
            *self._counted(runs),
            *self._explained(runs),
        ]

    def _runs(self) -> dict[tuple[str, int], _Run]:
        runs: dict[tuple[str, int], _Run] = {}
        for place, line in enumerate(self._lines):
            if isinstance(line, Start):
                runs[line.worker, line.run] = _Run(line, place)
            elif isinstance(line, End):
                run = runs[line.worker, line.run]
                run.ended, run.outcome = place, line.outcome
        return runs

    def _stored(self) -> list[Violation]:
        rows = Counter(row.event_id for row in self._rows)
        return [
            *(Violation("lost", event) for event, known in self._events.items() if known.answers and not rows[event]),
            *(Violation("doubled row", f"{event}: {count} rows") for event, count in rows.items() if count > 1),
            *(Violation("invented", f"{event}: nobody sent it") for event in rows if event not in self._events),
        ]

    def _handled(self) -> list[Violation]:
        broken: list[Violation] = []
        for row in self._rows:
            for handler, rule in self.rules.items():
                if not rule.wants(row.type):
                    continue
                state = row.handlers.get(handler)
                status = "pending" if state is None else state.status
                effects = self._effects[Effect(row.event_id, handler)]
                expected = ("parked", 0) if self.hopeless(row.event_id, handler) else ("done", 1)
                if effects > 1:
                    broken.append(Violation("doubled", f"{row.event_id}, {handler}: {effects} times"))
                elif (status, effects) != expected:
                    broken.append(Violation("unhandled", f"{row.event_id}, {handler}: {status}, {effects} effects"))
            if row.status == "pending":
                broken.append(Violation("unhandled", f"{row.event_id} is pending"))
        stored = {(row.event_id, row.type) for row in self._rows}
        known = {(event, handler) for event, type_ in stored for handler, rule in self.rules.items() if rule.wants(type_)}
        strange = [effect for effect in self._effects if (effect.event, effect.handler) not in known]
        return [*broken, *(Violation("invented", f"an effect of {effect}") for effect in strange)]

    def _audited(self) -> list[Violation]:
        broken: list[Violation] = []
        for row in self._rows:
            stored = self._logged[row.id, "stored"]
            total = sum(self._logged[row.id, outcome] for outcome in ("stored", "duplicate", "requeued"))
            known = self._events.get(row.event_id)
            if stored != 1:
                broken.append(Violation("unaudited", f"{row.event_id}: stored {stored} times"))
            elif known is not None and total < known.answers:
                broken.append(Violation("unaudited", f"{row.event_id}: {known.answers} answers, {total} in the log"))
        return broken

    def _overlapped(self, runs: dict[tuple[str, int], _Run]) -> list[Violation]:
        stopped = {line.worker for line in self._lines if isinstance(line, Incident) and line.kind == "stop"}
        return [
            Violation("overlap", f"{runs[line.worker, line.run].start} came upon {line.holder} in its {line.where}")
            for line in self._lines
            # A handler that is still at it when the grace is over is handed on, and ends with its process.
            if isinstance(line, Clash) and line.holder not in stopped
        ]

    def _ordered(self, runs: dict[tuple[str, int], _Run]) -> list[Violation]:
        broken: list[Violation] = []
        # Those that have started in a lane, the highest id last, and when they were claimed first.
        started: dict[str, list[tuple[int, float]]] = defaultdict(list)
        last: dict[tuple[str, str], _Run] = {}
        parked: set[tuple[str, str]] = set()
        for run in runs.values():
            start = run.start
            key = (start.event, start.handler)
            before, last[key] = last.get(key), run
            if before is not None and self._over(before, start):
                parked.add(key)
            if self.rules[start.handler].ordering == "none":
                # It holds up nobody, and what it waits for is nobody's turn.
                continue
            lane = started[start.lane]
            first = self._events[start.event].first if start.event in self._events else None
            if key not in parked and first is not None:
                overtaken = [row for row, claimed in lane if row > start.row and claimed > first]
                if overtaken:
                    broken.append(Violation("order", f"{start} after {overtaken[:3]} of its lane had begun"))
            if not lane or lane[-1][0] < start.row:
                lane.append((start.row, start.claimed))
        return broken

    def _over(self, before: _Run, start: Start) -> bool:
        """Return whether the run *before* may have been the last one until Stripe delivered the event again."""
        if not self.hopeless(start.event, start.handler):
            return False
        spent = before.start.attempt >= self.rules[start.handler].attempts
        return before.outcome == "parked" or spent or start.attempt <= before.start.attempt

    def _counted(self, runs: dict[tuple[str, int], _Run]) -> list[Violation]:
        broken: list[Violation] = []
        last: dict[tuple[str, str], Start] = {}
        for run in runs.values():
            start = run.start
            before = last.get((start.event, start.handler))
            last[start.event, start.handler] = start
            known = self._events.get(start.event)
            again = self.hopeless(start.event, start.handler) and known is not None and known.deliveries > 1
            if start.attempt < 1 or (before is not None and start.attempt <= before.attempt and not again):
                broken.append(Violation("uncounted", f"{start} after {before}"))
        for row in self._rows:
            for handler, state in row.handlers.items():
                start = last.get((row.event_id, handler))
                if start is not None and state.attempts < start.attempt:
                    broken.append(
                        Violation("uncounted", f"{row.event_id}, {handler}: {state.attempts} counted, attempt {start.attempt} ran")
                    )
        return broken

    def _explained(self, runs: dict[tuple[str, int], _Run]) -> list[Violation]:
        broken: list[Violation] = []
        story: dict[tuple[str, str], list[_Run]] = defaultdict(list)
        for run in runs.values():
            story[run.start.event, run.start.handler].append(run)
        kills = self._places("kill")
        stops = self._places("stop")
        outages = self._outages()
        cost: Counter[str] = Counter()
        for (event, handler), series in story.items():
            for run, following in pairwise(series):
                worker = run.start.worker
                # What is done to a worker is written down before: it may begin something more until it happens.
                killed = any(place < following.place for place in kills[worker])
                stopped = any(place < following.place for place in stops[worker])
                away = any(run.place < until and began < following.place for began, until in outages)
                if run.outcome in {"failed", "parked"} or away:
                    continue
                if killed:
                    cost[worker] += 1
                elif not (stopped and run.outcome != "ok"):
                    broken.append(
                        Violation("rerun", f"{event}, {handler}: {run.outcome} in {worker}, and again in {following.start.worker}")
                    )
            end = series[-1].outcome
            if self._effects[Effect(event, handler)] and end not in {"ok", None}:
                broken.append(Violation("invented", f"an effect of {event}, {handler}, whose last run ended with {end}"))
        broken += [
            Violation("rerun", f"the end of {worker} explains {count} runs, of which it had {self.threads} at once")
            for worker, count in cost.items()
            if count > self.threads
        ]
        silent = [effect for effect in self._effects if (effect.event, effect.handler) not in story]
        return [*broken, *(Violation("invented", f"{effect} without a run") for effect in silent)]

    def _places(self, kind: str) -> dict[str, list[int]]:
        places: dict[str, list[int]] = defaultdict(list)
        for place, line in enumerate(self._lines):
            if isinstance(line, Incident) and line.kind == kind:
                places[line.worker].append(place)
        return places

    def _outages(self) -> Sequence[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        began: int | None = None
        for place, line in enumerate(self._lines):
            if isinstance(line, Incident) and line.kind == "outage":
                began = place
            elif isinstance(line, Incident) and line.kind == "healed" and began is not None:
                found.append((began, place))
                began = None
        return found if began is None else [*found, (began, len(self._lines))]
