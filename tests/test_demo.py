"""The demo: it tells its story anywhere, it ends by itself, and it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.config import RetryPolicy, StripeConfig
from atom_stripe.webhooks import WebhookVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
# Far more than it takes.
PATIENCE = 120


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return import_module("demo")


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as ``make demo`` does, without a terminal."""
    command = [sys.executable, str(EXAMPLES / "demo.py")]
    settings = {**os.environ, "PYTHONUTF8": "1", **environment}
    return subprocess.run(
        command,
        env=settings,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def test_the_whole_story(demo: Any) -> None:
    """Without a terminal the demo tells every chapter, shows no secret and no traceback, and ends with status 0."""
    result = run(COLUMNS="100")
    assert (result.returncode, result.stderr) == (0, "")
    places = [result.stdout.find(f"\n{number}  {step.title} ") for number, step in enumerate(demo.STEPS, 1)]
    assert min(places) >= 0
    assert places == sorted(places)
    assert "All of this was true" in result.stdout
    for secret in ("whsec_", "sk_test_", "_secret_", "\x1b["):
        assert secret not in result.stdout


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


def accept_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that believes what it reads."""
    monkeypatch.setattr(WebhookVerifier, "authentic", lambda self, body, signature: body)


def refuse_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier with another endpoint's secret."""
    monkeypatch.setattr(WebhookVerifier, "from_config", classmethod(lambda cls, config: cls("whsec_ofAnotherEndpoint")))


def never_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that gives up after the first lost answer."""
    from_env = StripeConfig.from_env.__func__  # type: ignore[attr-defined]
    without = classmethod(lambda cls, environment: from_env(cls, environment, retry=RetryPolicy.NONE))
    monkeypatch.setattr(StripeConfig, "from_env", without)


def forget_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose idempotency keys never leave it."""
    from atom_stripe._engine import calls

    build = calls.requests.build
    monkeypatch.setattr(
        calls.requests, "build", lambda *arguments, **options: build(*arguments, **{**options, "idempotency_key": None})
    )


def stop_after_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes the first page for the whole list."""
    from atom_stripe._engine.pages import Listing

    monkeypatch.setattr(Listing, "after", lambda self, page: None)


@pytest.mark.parametrize(
    ("break_it", "titles"),
    [
        (accept_everything, ["A payment", "3-D Secure", "A forged webhook"]),
        (refuse_everything, ["A payment", "A webhook"]),
        (never_try_again, ["A lost answer"]),
        (forget_keys, ["The same request twice"]),
        (stop_after_a_page, ["Many pages"]),
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
    chosen = [step for step in demo.STEPS if step.title in titles]
    assert [step.title for step in chosen] == titles
    monkeypatch.setattr(demo, "STEPS", chosen)
    break_it(monkeypatch)
    assert demo.main() == 1
    shown = capsys.readouterr()
    assert f"The demo failed (step {len(titles)}, {titles[-1]})" in " ".join(shown.err.split())
    assert "All of this was true" not in shown.out


def test_nothing_keeps_running(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a failure, the shop and the Stripe are stopped."""

    def wrong(_day: Any) -> Any:
        raise demo.NotTrueError

    before = set(threading.enumerate())
    monkeypatch.setattr(demo, "STEPS", [demo.Step("A step", wrong, "why", "where")])
    assert demo.main() == 1
    assert set(threading.enumerate()) <= before
