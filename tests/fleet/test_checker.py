"""The checker sees what it is there to see: each broken promise, told as a history, is named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.protocols import HandlerState, InboxRecord
from tests.fleet.checker import Checker, Clash, Effect, End, Incident, Line, Start
from tests.fleet.plan import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = {
    "ledger": Rule(("*",), "object", attempts=5),
    "mail": Rule(("paid",), "none", attempts=5),
    "books": Rule(("hopeless",), "object", attempts=2),
}


def start(
    event: int, *, worker: str = "w1", run: int | None = None, handler: str = "ledger", attempt: int = 1, **fields: Any
) -> Start:
    """Return that *handler* began with event number *event*, whose row has that number too."""
    values: dict[str, Any] = {"row": event, "lane": "lane", "claimed": 10.0 + event, **fields}
    return Start(worker=worker, run=event if run is None else run, event=f"evt_{event}", handler=handler, attempt=attempt, **values)


def end(run: int, outcome: Any = "ok", worker: str = "w1") -> End:
    return End(worker, run, outcome)


@dataclass
class History:
    """Two events of one lane, 1 and 2, that were answered, stored and handled as they should; a test changes it."""

    answers: list[tuple[str, int, float]] = field(default_factory=lambda: [("evt_1", 200, 1.0), ("evt_2", 200, 2.0)])
    types: dict[str, str] = field(default_factory=lambda: {"evt_1": "updated", "evt_2": "updated"})
    lines: list[Line] = field(default_factory=lambda: [start(1), end(1), start(2), end(2)])
    rows: list[InboxRecord] = field(default_factory=lambda: [row(1), row(2)])
    effects: list[Effect] = field(default_factory=lambda: [Effect("evt_1", "ledger"), Effect("evt_2", "ledger")])
    deliveries: list[tuple[int, str, int]] = field(default_factory=lambda: [(1, "stored", 1), (2, "stored", 1)])

    def violations(self) -> list[str]:
        """Return the names of what the checker finds."""
        checker = Checker(RULES, 2, lambda event, handler: handler == "books")
        for event, status, at in self.answers:
            checker.sends(event, self.types[event])
            checker.answered(event, status, at)
        checker.ran(self.lines)
        checker.found(self.rows, self.effects, self.deliveries)
        return [violation.name for violation in checker.violations()]


def row(number: int, status: Any = "done", type_: str = "updated", **handlers: HandlerState) -> InboxRecord:
    return InboxRecord(
        id=number,
        event_id=f"evt_{number}",
        type=type_,
        account="",
        livemode=False,
        lane="lane",
        endpoint="test",
        status=status,
        received_at=0.0,
        handlers=handlers or {"ledger": HandlerState(status="done", attempts=1)},
    )


def test_a_sound_history_has_no_violations() -> None:
    """Nothing is found where nothing is broken."""
    assert History().violations() == []


def lost(history: History) -> None:
    del history.rows[0], history.effects[0], history.lines[:2]


def pending(history: History) -> None:
    history.rows[1] = row(2, "pending", ledger=HandlerState(attempts=1))
    del history.effects[1]


def without_effect(history: History) -> None:
    del history.effects[1]


def parked_without_reason(history: History) -> None:
    history.rows[1] = row(2, "parked", ledger=HandlerState(status="parked", attempts=1))
    del history.effects[1]


def never_begun(history: History) -> None:
    history.rows[1] = row(2, "done", mail=HandlerState(status="done", attempts=1))
    del history.effects[1], history.lines[2:]


def done_and_pending(history: History) -> None:
    history.rows[1] = replace(history.rows[1], status="pending")


def doubled(history: History) -> None:
    history.effects.append(Effect("evt_1", "ledger"))


def doubled_row(history: History) -> None:
    history.rows.append(replace(row(3), event_id="evt_2"))
    history.deliveries.append((3, "stored", 1))


def refused(history: History) -> None:
    history.answers.insert(0, ("evt_1", 400, 0.5))


def invented_row(history: History) -> None:
    history.answers.pop()


def invented_effect(history: History) -> None:
    history.effects.append(Effect("evt_1", "mail"))
    history.lines += [start(1, run=9, handler="mail"), end(9)]


def effect_without_run(history: History) -> None:
    del history.lines[2:]


def effect_of_a_failure(history: History) -> None:
    history.lines[3] = end(2, "failed")


def not_logged(history: History) -> None:
    history.deliveries.pop()


def stored_twice(history: History) -> None:
    history.deliveries.append((1, "stored", 1))


def answered_and_not_logged(history: History) -> None:
    history.answers.append(("evt_1", 200, 3.0))


def clash(history: History) -> None:
    history.lines.insert(1, Clash("w1", 1, "w2", "code"))


def overtaken(history: History) -> None:
    history.lines = [start(2), end(2), start(1), end(1)]


def overtaken_by_a_retry(history: History) -> None:
    history.lines = [start(1), end(1, "failed"), start(2), end(2), start(1, run=3, attempt=2), end(3)]
    history.rows[0] = row(1, ledger=HandlerState(status="done", attempts=2))


def overtaken_in_the_middle(history: History) -> None:
    """Between two others: the last that began is not the one that overtook."""
    history.answers.append(("evt_3", 200, 99.0))
    history.types["evt_3"] = "updated"
    history.rows.append(row(3))
    history.effects.append(Effect("evt_3", "ledger"))
    history.deliveries.append((3, "stored", 1))
    history.lines = [start(2), end(2), start(3, claimed=0.0), end(3), start(1), end(1)]


def same_attempt(history: History) -> None:
    history.lines = [start(1), Incident("kill", "w1"), start(1, run=5, worker="w2"), end(5, worker="w2"), *history.lines[2:]]


def attempt_not_written(history: History) -> None:
    history.lines = [start(1), end(1, "failed"), start(1, run=5, attempt=2), end(5), *history.lines[2:]]


def attempt_zero(history: History) -> None:
    history.lines[0] = start(1, attempt=0)


def again(*lines: Line) -> Callable[[History], None]:
    """Return what has event 1 run by w2 after *lines*."""

    def change(history: History) -> None:
        history.lines = [*lines, start(1, worker="w2", attempt=2), end(1, worker="w2"), *history.lines[2:]]
        history.rows[0] = row(1, ledger=HandlerState(status="done", attempts=2))

    return change


def three_for_a_kill(history: History) -> None:
    """Of a worker with two threads, three runs are done again."""
    history.types["evt_3"] = "updated"
    history.answers.append(("evt_3", 200, 2.5))
    history.rows = [row(number, ledger=HandlerState(status="done", attempts=2)) for number in (1, 2, 3)]
    history.effects.append(Effect("evt_3", "ledger"))
    history.deliveries.append((3, "stored", 1))
    first = [start(number, lane=f"lane-{number}") for number in (1, 2, 3)]
    second = [start(number, worker="w2", attempt=2, lane=f"lane-{number}") for number in (1, 2, 3)]
    history.lines = [*first, Incident("kill", "w1"), *second, *(end(number, worker="w2") for number in (1, 2, 3))]


BROKEN: dict[str, tuple[Callable[[History], None], Counter[str]]] = {
    change.__name__: (change, Counter(names))
    for change, names in (
        (lost, ["lost"]),
        (pending, ["unhandled", "unhandled"]),
        (without_effect, ["unhandled"]),
        (parked_without_reason, ["unhandled"]),
        (never_begun, ["unhandled"]),
        (done_and_pending, ["unhandled"]),
        (doubled, ["doubled"]),
        (doubled_row, ["doubled row"]),
        (refused, ["refused"]),
        (invented_row, ["invented"]),
        (invented_effect, ["invented"]),
        (effect_without_run, ["invented"]),
        (effect_of_a_failure, ["invented"]),
        (not_logged, ["unaudited"]),
        (stored_twice, ["unaudited"]),
        (answered_and_not_logged, ["unaudited"]),
        (clash, ["overlap"]),
        (overtaken, ["order"]),
        (overtaken_by_a_retry, ["order"]),
        (overtaken_in_the_middle, ["order"]),
        (same_attempt, ["uncounted"]),
        (attempt_not_written, ["uncounted"]),
        (attempt_zero, ["uncounted"]),
        (three_for_a_kill, ["rerun"]),
    )
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_promise_is_named(name: str) -> None:
    """A history in which one thing is wrong has just that violation."""
    change, expected = BROKEN[name]
    history = History()
    change(history)
    assert Counter(history.violations()) == expected


UNEXPLAINED = {
    "handled": again(start(1), end(1)),
    "open": again(start(1)),
    "strange failure": again(start(1), end(1, "error")),
    "kill of another": again(start(1), Incident("kill", "w9"), end(1)),
    "handled before it was stopped": again(start(1), end(1), Incident("stop", "w1")),
    "outage before": again(Incident("outage"), Incident("healed"), start(1)),
}

EXPLAINED = {
    "failed": again(start(1), end(1, "failed")),
    "killed": again(start(1), Incident("kill", "w1")),
    "killed after its end": again(start(1), end(1), Incident("kill", "w1")),
    "killed a moment later": again(Incident("kill", "w1"), start(1)),
    "stopped": again(start(1), Incident("stop", "w1")),
    "cancelled by a stop": again(start(1), Incident("stop", "w1"), end(1, "cancelled")),
    "outage": again(start(1), Incident("outage"), Incident("healed")),
    "outage after its end": again(start(1), end(1), Incident("outage"), Incident("healed")),
    "outage that has not ended": again(Incident("outage"), start(1), end(1, "error")),
}


@pytest.mark.parametrize("name", sorted(UNEXPLAINED))
def test_a_run_without_a_reason_is_named(name: str) -> None:
    """What ran again although nothing had happened to it is found."""
    history = History()
    UNEXPLAINED[name](history)
    assert history.violations() == ["rerun"]


@pytest.mark.parametrize("name", sorted(EXPLAINED))
def test_a_run_with_a_reason_is_none(name: str) -> None:
    """What ran again because it failed, or because of what was done to the world, breaks no promise."""
    history = History()
    EXPLAINED[name](history)
    assert history.violations() == []


def test_a_later_event_may_begin_before_an_earlier_one_is_visible() -> None:
    """An id counts from when its event was answered: what was claimed before that overtook nobody."""
    history = History()
    history.lines = [start(2, claimed=0.9), end(2), start(1), end(1)]
    assert history.violations() == []


def test_a_handler_without_order_overtakes_nobody() -> None:
    """A handler that keeps no order runs when it wants."""
    history = History()
    history.types = dict.fromkeys(history.types, "paid")
    states = {"ledger": HandlerState(status="done", attempts=1), "mail": HandlerState(status="done", attempts=1)}
    history.rows = [row(number, "done", "paid", **states) for number in (1, 2)]
    history.effects += [Effect("evt_1", "mail"), Effect("evt_2", "mail")]
    history.lines += [start(2, run=3, handler="mail"), end(3), start(1, run=4, handler="mail"), end(4)]
    assert history.violations() == []


def test_a_lane_of_its_own_is_another_lane() -> None:
    """Order and overlaps are those of one lane."""
    history = History()
    history.lines = [start(2, lane="other"), end(2), start(1), end(1)]
    assert history.violations() == []


def hopeless(*lines: Line, deliveries: int = 1) -> History:
    """Return a history of an event that is parked by one of its handlers, which *lines* tell."""
    history = History()
    history.types["evt_1"] = "hopeless"
    ledger, books = HandlerState(status="done", attempts=1), HandlerState(status="parked", attempts=2)
    history.rows[0] = row(1, "parked", "hopeless", ledger=ledger, books=books)
    history.lines[2:2] = lines
    history.answers += [("evt_1", 200, 5.0)] * (deliveries - 1)
    history.deliveries += [(1, "requeued", deliveries - 1)]
    return history


def books(run: int, attempt: int, outcome: str = "failed") -> list[Line]:
    return [start(1, run=run, handler="books", attempt=attempt), end(run, outcome)]


def test_what_is_hopeless_is_parked() -> None:
    """An event that is meant to be parked by a handler breaks no promise by it, and by nothing else."""
    assert hopeless(*books(5, 1), *books(6, 2)).violations() == []
    handled = hopeless(*books(5, 1), *books(6, 2))
    handled.effects.append(Effect("evt_1", "books"))
    assert set(handled.violations()) == {"unhandled", "invented"}


def test_a_parked_event_that_is_delivered_again_runs_again() -> None:
    """Delivered again, a parked event has all its attempts once more, and later ones of its lane may have begun."""
    history = hopeless(*books(5, 1), *books(6, 2), deliveries=2)
    history.lines += [*books(7, 1), *books(8, 2)]
    assert history.violations() == []


def test_a_parked_event_does_not_run_again_by_itself() -> None:
    """Attempts that begin anew although nobody delivered the event again are attempts that nobody counted."""
    history = hopeless(*books(5, 1), *books(6, 2))
    history.lines += [*books(7, 1), *books(8, 2)]
    assert "uncounted" in history.violations()


def test_a_handler_that_is_handed_on_may_end_with_its_process() -> None:
    """What comes upon a handler of a worker that was told to stop is no overlap; of any other it is."""
    history = History()
    history.lines.insert(1, Clash("w1", 1, "w2", "code"))
    history.lines.insert(0, Incident("stop", "w2"))
    assert history.violations() == []
