"""The watch for leaked secrets and the limit to this machine work: both would otherwise fail in silence."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.loopback import local

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
LEAKS = """
import logging, sys
from tests.canary import API_KEY

log = logging.getLogger("somewhere")

def test_output():
    print(API_KEY)

def test_error_output():
    sys.stderr.write(API_KEY)

def test_message():
    log.debug("key %s", API_KEY)

def test_field():
    log.info("call", extra={"headers": {"authorization": API_KEY}})

def test_traceback():
    try:
        raise ValueError(API_KEY)
    except ValueError:
        log.exception("failed")

def test_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "left-behind").write_text(API_KEY)
"""
CARE = """
import logging
from tests.canary import API_KEY

def test_use(tmp_path):
    print(API_KEY[:8], "…", API_KEY[-4:])
    logging.getLogger().info("used", extra={"length": len(API_KEY)})
    (tmp_path / "file").write_text("used")
"""


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    """Run *tests* under the watch, in a process of their own."""
    pytester.makepyfile(tests)
    pytester.makeini("[pytest]\nlog_level = DEBUG")
    pytester._monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester.runpytest_subprocess("-p", "tests.canary", "-p", "no:cacheprovider", "--show-capture=no")


def test_a_written_secret_fails_the_run(pytester: pytest.Pytester) -> None:
    """A secret that is printed, logged in any way or left in a file is found, and it is said where."""
    result = run(pytester, LEAKS)
    for file in pytester.path.rglob("left-behind"):
        file.unlink()
    result.assert_outcomes(failed=5, passed=1, errors=1)
    places = ["captured stdout call", "captured stderr call", "captured log call", "a log record of somewhere (*)", "*left-behind"]
    result.stdout.fnmatch_lines_random([f"*A planted secret was written to *{place}*" for place in places])


def test_a_kept_secret_passes(pytester: pytest.Pytester) -> None:
    """A test that uses a secret and shows no more than its two ends passes."""
    run(pytester, CARE).assert_outcomes(passed=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", b"localhost", "", None])
def test_this_machine_is_local(host: object) -> None:
    """Every name of this machine may be reached."""
    assert local(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "10.0.0.1", "2001:db8::1", "api.stripe.com", "0.0.0.0", "localhost.example.com"])  # noqa: S104
def test_other_machines_are_not_local(host: object) -> None:
    """No other machine may be reached, in a private network or outside."""
    assert not local(host)


def connect() -> None:
    """Connect by address."""
    with socket.socket() as sock:
        sock.connect(("192.0.2.1", 443))


def send() -> None:
    """Send without a connection."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", ("192.0.2.1", 53))


def look_up() -> None:
    """Ask for an address by name."""
    socket.getaddrinfo("api.stripe.com", 443)


def connect_in_a_loop() -> None:
    """Connect through asyncio."""
    asyncio.run(asyncio.open_connection("192.0.2.1", 443))


@pytest.mark.parametrize("reach", [connect, send, look_up, connect_in_a_loop])
def test_no_other_machine_is_reached(reach: Callable[[], None]) -> None:
    """An attempt to leave this machine is refused before anything is sent."""
    with pytest.raises(RuntimeError, match="tests reach this machine only"):
        reach()
