"""The demo: it tells its story anywhere, it ends by itself, it can fail, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe.config import RetryPolicy
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
# Far more than it takes.
PATIENCE = 120
CONNECTS = "A merchant connects"
# What ``make demo`` runs, with one step of the story: whatever comes after it is the same.
SHORT = [sys.executable, "-c", "import sys, demo; demo.STEPS = demo.STEPS[:1]; sys.exit(demo.main())"]
# Python gives its child no terminal to be controlled by; whoever leads a session gets the first one that it opens.
ON_TERMINAL = [sys.executable, "-c", "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.argv[1], sys.argv[1:])"]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return import_module("demo")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield where programs put their temporary files, and say so if some are left."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def settings(**environment: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]), **environment}


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as ``make demo`` does, without a terminal."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        env=settings(**environment),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def check_no_secret(text: str) -> None:
    for secret in ("whsec_", "sk_test_", "rk_test_", "_secret_", "Bearer", MARK):
        assert secret not in text


def test_the_whole_story(demo: Any, folder: Path) -> None:
    """Without a terminal the demo tells every chapter, shows no secret and no traceback, says how to go on, ends with status 0 and leaves no file."""
    result = run(COLUMNS="100", TMPDIR=str(folder), STRIPE_SECRET_KEY=f"sk_test_{MARK}")
    assert (result.returncode, result.stderr) == (0, "")
    places = [result.stdout.find(f"\n{number}  {step.title} ") for number, step in enumerate(demo.STEPS, 1)]
    assert min(places) >= 0
    assert places == sorted(places)
    words = " ".join(result.stdout.split())
    for told in (
        "got kill -9",
        "Lost: 0. Doubled: 0.",
        "With events out of their order: 0.",
        "All of this was true",
        "serve --sandbox",
    ):
        assert told in words
    assert "\x1b[" not in result.stdout
    check_no_secret(result.stdout)


def test_a_narrow_terminal_of_ascii() -> None:
    """Thirty columns and no characters but ASCII are enough."""
    result = run(COLUMNS="30", PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.isascii()
    assert max(len(line) for line in result.stdout.splitlines()) <= 30


def test_where_to_read_on(demo: Any) -> None:
    """Every file that the story points to exists, and what it names in there stands there."""
    for step in demo.STEPS:
        for pointer in step.look.split("; "):
            file, _, name = pointer.partition(", ")
            assert name.removesuffix("()") in (ROOT / file).read_text(encoding="utf-8")


# What is broken.


def seal_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that stores tokens as they are."""
    monkeypatch.setattr("atom_stripe._engine.connect.vault.seal", lambda token, *, key, **_where: f"as1:{key.id}::{token}")
    monkeypatch.setattr("atom_stripe._engine.connect.vault.unseal", lambda sealed, **_where: sealed.rpartition(":")[2])


def accept_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that believes what it reads."""
    monkeypatch.setattr(WebhookVerifier, "authentic", lambda self, body, signature: body)


def refuse_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with another endpoint's secret."""
    module = import_module("demo_service")
    monkeypatch.setattr(module, "WebhookVerifier", lambda _secret: WebhookVerifier("whsec_ofAnotherEndpoint"))


def never_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that gives up after the first lost answer."""
    monkeypatch.setattr("atom_stripe.testing.sandbox.RetryPolicy", lambda **_settings: RetryPolicy.NONE)


def forget_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose idempotency keys never leave it."""
    from atom_stripe._engine import calls

    build = calls.requests.build
    monkeypatch.setattr(
        calls.requests, "build", lambda *arguments, **options: build(*arguments, **{**options, "idempotency_key": None})
    )


def forget_the_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Stripe that renews nothing."""
    monkeypatch.setattr("atom_stripe.testing._state.clock.Clock.advance", lambda self, **_time: self.now)


@pytest.mark.parametrize(
    ("break_it", "titles"),
    [
        (seal_nothing, [CONNECTS]),
        (never_try_again, [CONNECTS, "A payment"]),
        (forget_keys, [CONNECTS, "A payment"]),
        (accept_everything, [CONNECTS, "A payment", "Its webhook, and forged ones"]),
        (refuse_everything, [CONNECTS, "A payment", "Its webhook, and forged ones"]),
        (forget_the_month, [CONNECTS, "A subscription, and a month later"]),
        (forget_keys, [CONNECTS, "A failed payment", "A refund"]),
    ],
)
def test_what_is_broken_is_noticed(
    demo: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    break_it: Callable[[pytest.MonkeyPatch], None],
    titles: list[str],
) -> None:
    """The demo looks at facts: with a part of the package broken, it names the step that is not true, and ends with status 1."""
    break_it(monkeypatch)
    check_it_fails(demo, monkeypatch, capsys, titles)


def check_it_fails(demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], titles: list[str]) -> str:
    """Play these steps, of which the last is not true, and return what was said."""
    chosen = [step for step in demo.STEPS if step.title in titles]
    assert [step.title for step in chosen] == titles
    monkeypatch.setattr(demo, "STEPS", chosen)
    assert demo.main() == 1
    shown = capsys.readouterr()
    said = " ".join(shown.err.split())
    assert f"The demo failed (step {len(titles)}, {titles[-1]})" in said
    assert "All of this was true" not in shown.out
    check_no_secret(shown.out + shown.err)
    return said


# A worker with a handler of its own.
CARELESS = """\
import os
import sqlite3

import anyio
from demo_service import ENTRY, LEASE, entry_of

from atom_stripe import AsyncWebhookInbox, WebhookVerifier
from atom_stripe.inbox import InboxConfig
from atom_stripe.stores.sql import SqlInboxStore

URL = os.environ["DATABASE_URL"]
config = InboxConfig(lease=LEASE, poll_interval=0.1, sweep_interval=1.0)
inbox = AsyncWebhookInbox(WebhookVerifier(os.environ["STRIPE_WEBHOOK_SECRET"]), SqlInboxStore.from_url(URL), config=config)


@inbox.on("*", name="demo.ledger")
async def enter(event, context):
    entry = entry_of(event, context, os.getpid())
"""
# Its effect is not in the transaction: what was under way when the worker was killed happens again.
OUTSIDE = """\
    with sqlite3.connect(URL.removeprefix("sqlite:///"), timeout=60) as own:
        own.execute(str(ENTRY), entry)
    await anyio.sleep(0.2)
"""
# It takes a second attempt for one that has nothing left to do.
ONCE = """\
    await anyio.sleep(0.2)
    if context.attempt == 1:
        await context.connection.execute(ENTRY, entry)
"""
# By what it writes, later events of an object came first.
DISORDERED = """\
    entry["place"] = -entry["place"]
    await anyio.sleep(0.2)
    await context.connection.execute(ENTRY, entry)
"""
# Ten cents of each payment get lost on the way.
SHORT_OF_MONEY = """\
    entry["amount"] -= 10 if entry["amount"] > 0 else 0
    await anyio.sleep(0.2)
    await context.connection.execute(ENTRY, entry)
"""


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (OUTSIDE, "events are in the ledger, and"),
        (ONCE, "events were lost"),
        (DISORDERED, "objects are out of order"),
        (SHORT_OF_MONEY, "the ledger says"),
    ],
)
def test_a_careless_worker_is_noticed(
    demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, handler: str, said: str
) -> None:
    """The demo counts what the kill did: with a handler that doubles, loses, disorders or miscounts, it says so, and ends with status 1."""
    (tmp_path / "careless.py").write_text(CARELESS + handler, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("demo_day.WORKER", "careless:inbox")
    assert said in check_it_fails(demo, monkeypatch, capsys, [CONNECTS, "kill -9"])


def test_a_worker_that_cannot_start(demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that ends by itself is not waited for: the demo repeats its last words."""
    monkeypatch.setattr("demo_day.WORKER", "demo_worker:nothing")
    said = check_it_fails(demo, monkeypatch, capsys, [CONNECTS, "A payment", "Its webhook, and forged ones"])
    assert "the worker ended by itself: error: there is no nothing in demo_worker" in said


# What is left.


def test_nothing_keeps_running(demo: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Also after a failure, the service, the Stripe and the worker are stopped, and their files are gone."""
    workers: list[int] = []

    def wrong(day: Any) -> Any:
        workers.append(day.worker.process.pid)
        raise ZeroDivisionError

    before = set(threading.enumerate())
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(demo, "STEPS", [demo_step(wrong)])
    assert demo.main() == 1
    assert set(threading.enumerate()) <= before
    assert not lives(workers[0])


def demo_step(play: Callable[[Any], Any]) -> Any:
    return import_module("demo_steps").Step("A step", play, "why", "where")


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class Terminal:
    """A terminal with the demo in it, and everything that the demo starts."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = os.openpty()
        self._seen = b""
        self.process = subprocess.Popen(
            [*ON_TERMINAL, *SHORT],
            cwd=ROOT,
            env=settings(TMPDIR=str(folder), TERM="dumb"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return what matches, once it is there."""
        while not (found := re.search(pattern, self.text)):
            assert select.select([self._ours], [], [], PATIENCE)[0], self.text
            self._seen += os.read(self._ours, 4096)
        return found

    @property
    def text(self) -> str:
        return self._seen.decode("utf-8", "replace")

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def ended(self) -> int:
        """Return the exit status. Nothing that was started here lives on."""
        status = self.process.wait(PATIENCE)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return status

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    """Yield a terminal in which the demo has been started."""
    terminal = Terminal(folder)
    try:
        yield terminal
    finally:
        terminal.close()


def test_enter_starts_the_service(terminal: Terminal) -> None:
    """On a terminal, Enter after the story is the service with a Stripe of its own, in the same process, and Ctrl-C ends it."""
    terminal.wait_for("Press Enter to start `.*serve --sandbox.*`, or Ctrl-C to leave")
    check_no_secret(terminal.text)
    terminal.type(b"\n")
    url = terminal.wait_for(r"The service +(http://127\.0\.0\.1:\d+/api/v1/stripe)\s")[1]
    terminal.wait_for("Ctrl-C ends it")
    terminal.wait_for("(?i)startup complete")
    assert httpx.get(f"{url}/health", trust_env=False).json() == {"status": "ok"}
    terminal.type(b"\x03")
    terminal.ended()


def test_a_port_that_is_taken(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If somebody listens at the usual port, the service is offered at another one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(demo, "PORT", listener.getsockname()[1])
        taken = demo.serve_command()
    free = demo.serve_command()
    assert free[-2:] == ["serve", "--sandbox"]
    assert taken == [*free, "--port", "0"]


def test_ctrl_c_leaves(terminal: Terminal) -> None:
    """On a terminal, Ctrl-C after the story ends the demo well, and nothing is started: an Enter during the story is no answer."""
    terminal.wait_for("1  A merchant connects")
    terminal.type(b"\n")
    terminal.wait_for("Press Enter to start")
    terminal.type(b"\x03")
    assert terminal.ended() == 0
    assert "The service " not in terminal.text


def test_ctrl_c_in_the_middle(terminal: Terminal) -> None:
    """On a terminal, Ctrl-C in the middle of the story ends it at once, without a traceback; no process and no file is left."""
    terminal.wait_for("1  A merchant connects")
    terminal.type(b"\x03")
    assert terminal.ended() == 130
    assert "Traceback" not in terminal.text


def test_a_signal_in_the_middle(folder: Path) -> None:
    """SIGTERM ends the demo as Ctrl-C does: no process and no file is left."""
    process = subprocess.Popen(
        SHORT, cwd=ROOT, env=settings(TMPDIR=str(folder)), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        assert process.stdout is not None
        while "1  A merchant" not in process.stdout.readline():
            assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE) == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
