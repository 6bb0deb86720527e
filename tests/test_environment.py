"""The program that makes the environments: it chooses the right Python and says what is wrong in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import environment


def test_the_pythons_of_this_machine() -> None:
    """The Python that runs this is among those found, they are in order, and there is one for each version."""
    found = [version[:2] for version, _ in environment.pythons()]
    assert sys.version_info[:2] in found
    assert found == sorted(set(found))
    assert {minor for _, minor in found} <= set(environment.SUPPORTED)


def test_a_python_that_is_not_there() -> None:
    """A name that does not run is refused by its name."""
    with pytest.raises(environment.EnvironmentProblem, match="no-such-python does not run"):
        environment.chosen("no-such-python")


def test_a_python_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older Python is refused with its version and the one that is needed."""
    monkeypatch.setattr(environment, "probe", lambda python: ((3, 10, 13), python))
    with pytest.raises(environment.EnvironmentProblem, match=r"old is Python 3\.10\.13; this project needs 3\.11 or newer"):
        environment.chosen("old")


def test_no_python_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a supported Python is told what to install."""
    monkeypatch.setattr(environment, "probe", lambda python: None)
    with pytest.raises(environment.EnvironmentProblem, match=r"no Python from 3\.11 to .* Install one"):
        environment.pythons()


def test_one_python_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where this Python is the newest one, it is the one that runs, and that is said."""
    monkeypatch.setattr(environment, "pythons", lambda: [(tuple(sys.version_info[:3]), sys.executable)])
    assert environment.run_newest(("-c", "raise SystemExit(3)")) == 3
    assert "no other supported Python was found on this machine" in capsys.readouterr().out


def test_a_wrong_command_line() -> None:
    """A command that does not exist shows how to use the program, and fails."""
    program = str(Path(environment.__file__))
    done = subprocess.run([sys.executable, program, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "tools/environment.py create" in done.stderr
