"""The long test in short, and the verdict at its end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fleet.nest import PATIENCE, ROOT
from tests.fleet.soak import Verdict


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_the_long_test_runs(backend: str) -> None:
    """Some seconds of it, with a kill, a new secret and a restart of the database in them, end with code 0 and a verdict."""
    command = [sys.executable, "-m", "tests.fleet.soak", "--minutes", "0.15", "--rate", "40", "--backend", backend]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    *told, verdict = ended.stdout.splitlines()
    assert "no promise was broken, nothing has grown" in verdict
    assert "0 violations" in told[-1]
    assert " 0 kills" not in told[-1]
    assert " 0 secrets" not in told[-1]
    assert (" 0 restarts" in told[-1]) == (backend == "sqlite")


def test_a_soak_says_for_how_long() -> None:
    """Without a length the command ends with a usage error."""
    ended = subprocess.run([sys.executable, "-m", "tests.fleet.soak"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--hours or --minutes" in ended.stderr


def test_a_broken_promise_is_the_verdict() -> None:
    """A violation makes the exit code 1, and is told."""
    verdict = Verdict()
    assert verdict.code() == 0
    verdict.violations.append("lost: evt_1")
    assert (verdict.code(), verdict.text()) == (1, "broken: lost: evt_1")


def test_growth_is_the_verdict() -> None:
    """What grows all the time makes the exit code 1; what rises while it warms up, or once, does not."""
    verdict = Verdict()
    for minute in range(40):
        early, once = 10.0 * min(minute, 8), 500.0 if minute == 35 else 80.0
        verdict.sample({"rss worker": 90.0 + 6 * minute, "fds worker": early, "wal": once, "store": 12.0})
    assert verdict.grown() == ["rss worker: from 177 to 297"]
    assert verdict.code() == 1
    assert verdict.text() == "grown: rss worker: from 177 to 297"


def test_a_few_samples_say_nothing_about_growth() -> None:
    """Three samples are no trend."""
    verdict = Verdict()
    for value in (1.0, 1000.0, 2000.0):
        verdict.sample({"rss worker": value})
    assert verdict.code() == 0
