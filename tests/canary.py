"""
A pytest plugin: planted secrets, and a watch on everything that the suite writes.

Tests use the secrets below wherever they need one. A test fails when a planted secret appears in a log record (its message, its
extra fields or its traceback) or in what was printed while it ran; the run fails when one is found in a file that the tests left
in pytest's temporary folders. Warnings need no watch of their own: each one is an error.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

# In the middle of each secret, so that the prefixes and last digits that people compare keys by may be shown.
MARK = "Canary7Yq2Wd9"

API_KEY = f"sk_test_{MARK}4242"
LIVE_KEY = f"sk_live_{MARK}4242"
RESTRICTED_KEY = f"rk_test_{MARK}4242"
WEBHOOK_SECRET = f"whsec_{MARK}4242"
CLIENT_SECRET = f"pi_1_secret_{MARK}4242"
ACCESS_TOKEN = f"sk_acct_{MARK}4242"
REFRESH_TOKEN = f"rt_{MARK}4242"


class Watch(logging.Handler):
    """Sees every log record, whatever its level, and remembers where a secret was."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.found: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one record."""
        try:
            written = self.format(record)
        except Exception:  # noqa: BLE001 - a broken record is reported by the handlers that write it
            written = ""
        fields = {name: value for name, value in vars(record).items() if name not in {"args", "msg"}}
        if MARK in written or MARK in repr(fields):
            self.found.append(f"a log record of {record.name} ({record.pathname}:{record.lineno})")

    def take(self) -> list[str]:
        """Return what was found since the last call."""
        found, self.found = self.found, []
        return found


WATCH = Watch()


def pytest_configure() -> None:
    """Start to watch."""
    logging.getLogger().addHandler(WATCH)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail the test that wrote a secret. What a failed test shows of itself is not looked at: the run fails anyway."""
    report = yield
    # The sections of a later phase hold those of the earlier ones again.
    found = WATCH.take() + [name.lower() for name, text in report.sections if name.endswith(f" {report.when}") and MARK in text]
    if found:
        report.outcome = "failed"
        report.longrepr = f"A planted secret was written to {', '.join(found)}."
    return report


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look through the files that the tests left behind, when the last one has run."""
    yield
    found = [str(path) for path in files(tmp_path_factory.getbasetemp()) if MARK.encode() in path.read_bytes()]
    if found:
        pytest.fail(f"A planted secret was written to {', '.join(found)}.", pytrace=False)


def files(folder: Path) -> Iterator[Path]:
    """Yield the regular files under *folder*; sockets and links are none."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
