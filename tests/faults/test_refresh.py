"""One token, many callers, many processes: Stripe is asked once, and everybody gets the same new token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Stage

USER = "user_0"


@pytest.mark.parametrize("program", ["callers", "async_callers"])
def test_four_processes_of_fifty_callers_ask_once(any_stage: Stage, program: str) -> None:
    """However many callers in however many processes find the token run out, Stripe is asked once, and all get what it gave."""
    any_stage.connect(USER)
    gate = any_stage.folder / "gate"
    jobs = [any_stage.start(program, user=USER, number=50, gate=str(gate)) for _ in range(4)]
    for job in jobs:
        job.wait_for("ready")
    gate.touch()
    outcomes = [outcome for job in jobs for outcome in job.wait_for("tokens")]
    assert outcomes == [any_stage.digest(USER)] * 200
    assert any_stage.asked() == ["done"]
    assert [job.ended() for job in jobs] == [0] * 4
    any_stage.check_sound(USER)


def test_both_colours_in_two_processes_ask_once(any_stage: Stage) -> None:
    """Threads and tasks, with a manager of each colour in each of two processes, ask Stripe once for all of them."""
    any_stage.connect(USER)
    gate = any_stage.folder / "gate"
    jobs = [any_stage.start("mixed_callers", user=USER, number=20, gate=str(gate)) for _ in range(2)]
    for job in jobs:
        job.wait_for("ready", number=2)
    gate.touch()
    outcomes = [outcome for job in jobs for number in (1, 2) for outcome in job.wait_for("tokens", number=number)]
    assert outcomes == [any_stage.digest(USER)] * 80
    assert any_stage.asked() == ["done"]
    any_stage.check_sound(USER)
