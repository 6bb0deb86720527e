"""The examples of Connect as programs: they start with a Stripe of their own, say where to click, and end when they are told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from atom_stripe import Keyring
from tests.browser.market import EXAMPLES, account_in
from tests.browser.serving import FRAMEWORKS
from tests.canary import API_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.browsers import PlainBrowser

# Far more than it takes.
PATIENCE = 60


@pytest.fixture
def program(framework: str) -> Generator[subprocess.Popen[str]]:
    """The example, started as its reader would."""
    command = [sys.executable, str(EXAMPLES / f"connect_{framework}.py")]
    settings = {**os.environ, "PYTHONUTF8": "1"}
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_program(program: Any, plain_browser: PlainBrowser, number: signal.Signals) -> None:
    """The program prints one line with an address, the whole way works there, and a signal ends it without a word."""
    line = program.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert address, line + program.stderr.read()
    plain_browser.open(address[0])
    plain_browser.click("connect")
    plain_browser.click("connect")
    account = account_in(plain_browser.text())
    plain_browser.click("charge")
    assert "succeeded. Our share is $1.50." in plain_browser.text()
    plain_browser.click("home")
    assert f"Connected to {account}" in plain_browser.text()
    program.send_signal(number)
    assert program.communicate(timeout=PATIENCE) == ("", "")
    assert program.returncode == 0


def test_settings_from_the_environment(framework: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without arguments, the service is set up by the environment, and leads to Stripe itself."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    settings = {
        "STRIPE_SECRET_KEY": API_KEY,
        "STRIPE_CLIENT_ID": "ca_CanaryPlatform1234567890",
        "STRIPE_REDIRECT_URI": "https://market.example/stripe/callback",
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_TOKEN_KEYS": Keyring.generate_key(),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'connect.db'}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/stripe/connect"
        with FRAMEWORKS[framework](import_module(f"connect_{framework}").create_app(), listener):
            answer = httpx.get(url, trust_env=False)
    location = urlsplit(answer.headers["location"])
    asked = dict(parse_qsl(location.query))
    assert (answer.status_code, location.netloc, location.path) == (303, "connect.stripe.com", "/oauth/authorize")
    assert (asked["client_id"], asked["redirect_uri"]) == ("ca_CanaryPlatform1234567890", "https://market.example/stripe/callback")
