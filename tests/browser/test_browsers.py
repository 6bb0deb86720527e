"""The browsers of the tests: a missing Chromium is told and not hidden, and installing one does what it says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import browsers

if TYPE_CHECKING:
    from pathlib import Path

ONE_TEST = """
def test_it(open_browser):
    open_browser().close()
"""


@pytest.fixture
def no_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Chromium, and the only folder on its PATH."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def place(folder: Path, name: str) -> str:
    """Put a program into *folder*."""
    path = folder / name
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_without_chromium(no_chromium: Path, pytester: pytest.Pytester) -> None:
    """Without Chromium, tests run in the plain browser, none is skipped, and the summary says what was not run."""
    pytester.makepyfile(ONE_TEST)
    result = pytester.runpytest_inprocess("-p", "tests.browsers", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*not run: no Chromium (1 tests ran in the plain browser alone; *make browser*"])


def test_with_chromium_nothing_is_reported(no_chromium: Path, pytester: pytest.Pytester) -> None:
    """With Chromium, each test is there twice and the summary says nothing of browsers."""
    place(no_chromium, "chromium-browser")
    pytester.makepyfile(ONE_TEST)
    result = pytester.runpytest_inprocess("-p", "tests.browsers", "-p", "no:cacheprovider", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_it?plain?", "*test_it?chromium?"])
    result.stdout.no_fnmatch_line("*not run*")


def test_where_chromium_is(no_chromium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHROMIUM comes before PATH, and where it leads nowhere, no other is taken for it."""
    assert browsers.chromium() is None
    on_path = place(no_chromium, "google-chrome")
    assert browsers.chromium() == on_path
    mine = place(no_chromium, "my-chromium")
    monkeypatch.setenv("CHROMIUM", mine)
    assert browsers.chromium() == mine
    monkeypatch.setenv("CHROMIUM", f"{mine}-gone")
    assert browsers.chromium() is None


def test_install_finds_what_is_there(no_chromium: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine with Chromium gets no second one."""
    found = place(no_chromium, "chromium")
    assert browsers.install(run=never) == 0
    assert capsys.readouterr().out == f"Chromium is at {found}\n"


def never(*command: Any, **options: Any) -> None:
    pytest.fail("nothing is to be installed")


@pytest.mark.parametrize(("root", "apt"), [(True, False), (False, True)])
def test_install_where_it_may_not(
    no_chromium: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: bool, apt: bool
) -> None:
    """Without root or apt-get nothing is touched; the message says what to do, and the status is 1."""
    monkeypatch.setattr(browsers, "_is_root", lambda: root)
    if apt:
        place(no_chromium, "apt-get")
    assert browsers.install(run=never) == 1
    assert "set CHROMIUM" in capsys.readouterr().err


def test_install(no_chromium: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Root with apt-get gets Debian's package, in bounded time and without a question."""
    monkeypatch.setattr(browsers, "_is_root", lambda: True)
    place(no_chromium, "apt-get")
    asked: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...], **options: Any) -> None:
        asked.append(command)
        assert options["timeout"] > 0
        assert options["env"]["DEBIAN_FRONTEND"] == "noninteractive"
        if "install" in command:
            place(no_chromium, "chromium")

    assert browsers.install(run=run) == 0
    assert asked == [("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends", "chromium")]
    assert capsys.readouterr().out.endswith(f"Chromium is at {no_chromium / 'chromium'}\n")


@pytest.mark.parametrize("failure", [subprocess.CalledProcessError(100, "apt-get"), subprocess.TimeoutExpired("apt-get", 540)])
def test_install_that_fails(
    no_chromium: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: Exception
) -> None:
    """An installation that fails or hangs is told, with status 1."""
    monkeypatch.setattr(browsers, "_is_root", lambda: True)
    place(no_chromium, "apt-get")

    def run(command: tuple[str, ...], **options: Any) -> None:
        raise failure

    assert browsers.install(run=run) == 1
    assert capsys.readouterr().err.startswith("It could not be installed: ")


def test_install_that_gives_nothing(no_chromium: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An installation after which there is still no Chromium is a failure."""
    monkeypatch.setattr(browsers, "_is_root", lambda: True)
    place(no_chromium, "apt-get")
    assert browsers.install(run=lambda command, **options: None) == 1
    assert "no Chromium was found" in capsys.readouterr().err
