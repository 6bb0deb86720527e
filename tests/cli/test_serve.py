"""``atom-stripe serve`` and ``atom-stripe token``, as programs of their own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from typer.testing import CliRunner

from atom_stripe.cli.app import app
from atom_stripe.contrib.fastapi import BearerTokens
from atom_stripe.keys import Keyring
from atom_stripe.protocols import InboxQuery
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY, MARK, WEBHOOK_SECRET
from tests.cli.conftest import Outcome, checked
from tests.cli.running import clean, run, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.running import Program

SECRET_KEY = f"{MARK}{'k' * 32}"
PAID = {"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}


class Site:
    """A folder with settings, the Stripe that they name, and whoever calls the service there."""

    def __init__(self, folder: Path, stripe: StripeSandbox) -> None:
        self.folder = folder
        self.stripe = stripe
        self.database = f"sqlite:///{folder / 'stripe.db'}"
        upgrade(self.database)
        self.settings = {
            "STRIPE_SECRET_KEY": API_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_API_BASE": stripe.serve().url,
            "DATABASE_URL": self.database,
            "SECRET_KEY": SECRET_KEY,
        }
        self.write()

    def write(self, **changes: str | None) -> None:
        """Write the settings down, with changes; ``None`` takes one away."""
        kept = {name: value for name, value in {**self.settings, **changes}.items() if value is not None}
        file = self.folder / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value in kept.items()), encoding="utf-8")
        file.chmod(0o600)

    def refused(self, *arguments: str, **environment: str) -> str:
        """Run a command that does not come so far as to serve, and return what it says."""
        gone = {name: None for name in os.environ if name not in clean({})}
        result = CliRunner().invoke(app, list(arguments), env={**gone, **environment})
        done = checked(Outcome(result.exit_code, result.stdout, result.stderr))
        assert (done.status, done.stdout) == (2, "")
        return done.stderr

    def events(self) -> list[str]:
        """Return the types of the events that were handled."""
        with SqlInboxStore.from_url(self.database) as store:
            return sorted(one.type or "" for one in store.find(InboxQuery(status="done")))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that is gone afterwards, with the settings in it."""
    with tempfile.TemporaryDirectory(prefix="serve") as path:
        yield Path(path)


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(folder)
    # Later than now: an event that is older than a connection does not end it.
    with StripeSandbox(start=datetime.now(UTC) + timedelta(hours=1)) as stripe:
        yield Site(folder, stripe)


def ready(program: Program) -> httpx.Client:
    """Wait until a program serves, and return somebody who calls it."""
    url = program.wait_for_output()["url"]
    program.wait_for("startup complete")
    return httpx.Client(base_url=url + "/api/v1/stripe", timeout=30)


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {BearerTokens(SECRET_KEY).mint('user_1', **claims)}"}


def test_the_demonstration(folder: Path) -> None:
    """--sandbox needs nothing: its token pays, its webhook is handled, nobody comes in without it, and SIGTERM ends it with 0."""
    with started(folder, "serve", "--sandbox", "--port", "0", "--json") as program:
        told = program.wait_for_output()
        with ready(program) as visitor:
            assert visitor.get("/health").status_code == 200
            assert visitor.post("/payments", json=PAID).status_code == 401
            headers = {"Authorization": f"Bearer {told['token']}"}
            paid = visitor.post("/payments", json=PAID, headers=headers)
            assert (paid.status_code, paid.json()["status"]) == (201, "succeeded")
            program.wait_for("payment_intent.succeeded was handled")
            assert visitor.get("/health/detailed", headers=headers).json()["status"] == "ok"
            began = visitor.get("/oauth/authorize", headers=headers).json()["url"]
            assert httpx.get(began).status_code == 200
        program.tell()
        assert program.ended()[0] == 0
    assert list(folder.iterdir()) == []


def test_the_demonstration_tells_people(folder: Path) -> None:
    """Whoever starts it reads where it is, and commands that can be copied; Ctrl-C ends it with 0."""
    with started(folder, "serve", "--sandbox", "--port", "0") as program:
        program.wait_for("startup complete")
        program.tell(signal.SIGINT)
        status, printed = program.ended()
    assert status == 0
    assert printed.count("\ncurl http://127.0.0.1:") == 3


def test_a_service(site: Site) -> None:
    """With the settings in .env it takes payments and handles what Stripe sends; SIGTERM ends it with 0, and stderr is JSON without a secret."""
    with started(site.folder, "serve", "--port", "0", "--json") as program, ready(program) as visitor:
        site.stripe.webhooks.deliver_to(f"{str(visitor.base_url).rstrip('/')}/webhooks", WEBHOOK_SECRET)
        paid = visitor.post("/payments", json=PAID, headers=bearer(platform=True))
        assert paid.status_code == 201
        assert visitor.get("/payments?cursor=who-reads-this").status_code == 401
        program.wait_for("payment_intent.succeeded was handled")
        program.tell()
        assert program.ended() == (0, program._printed)
    lines = [json.loads(line) for line in program.lines if line.startswith("{")]
    access = [line for line in lines if line["logger"] == "atom_stripe.access"]
    assert {(line["method"], line["path"], line["status"]) for line in access} >= {
        ("POST", "/api/v1/stripe/payments", 201),
        ("GET", "/api/v1/stripe/payments", 401),
        ("POST", "/api/v1/stripe/webhooks", 200),
    }
    written = "".join(program.lines) + program._printed
    assert MARK not in written
    assert "who-reads-this" not in written
    assert "payment_intent.succeeded" in site.events()


def test_without_a_worker(site: Site) -> None:
    """With --no-worker events are stored, and left to others."""
    with started(site.folder, "serve", "--port", "0", "--json", "--no-worker") as program, ready(program) as visitor:
        site.stripe.webhooks.deliver_to(f"{str(visitor.base_url).rstrip('/')}/webhooks", WEBHOOK_SECRET)
        assert visitor.post("/payments", json=PAID, headers=bearer(platform=True)).status_code == 201
        site.stripe.webhooks.wait()
        program.tell()
        assert program.ended()[0] == 0
    assert all(delivery.status == 200 for delivery in site.stripe.webhooks.deliveries)
    assert site.events() == []


def test_requests_under_way_are_answered(site: Site) -> None:
    """A payment that is at Stripe when SIGTERM comes is answered before the service ends."""
    answers: list[int] = []
    with started(site.folder, "serve", "--port", "0", "--json") as program, ready(program) as visitor:
        headers = {**bearer(platform=True), "Idempotency-Key": "order-42"}

        def pay() -> None:
            answers.append(visitor.post("/payments", json=PAID, headers=headers).status_code)

        thread = threading.Thread(target=pay)
        with site.stripe.hold("order-42") as held:
            thread.start()
            held.wait()
            program.tell()
            program.wait_for("Shutting down")
        thread.join()
        assert program.ended()[0] == 0
    assert answers == [201]


def test_several_processes(site: Site) -> None:
    """--workers has several processes answer at one port, whose metrics are shown together; SIGTERM ends all of them."""
    with started(site.folder, "serve", "--port", "0", "--json", "--workers", "2") as program:
        with ready(program) as visitor:
            program.wait_for("startup complete")
            assert visitor.get("/payments", headers=bearer(platform=True)).status_code == 200
            shown = visitor.get("/metrics", headers=bearer(operator=True))
            assert shown.status_code == 200
            assert 'operation="list_payments"' in shown.text
        program.tell()
        assert program.ended()[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"STRIPE_SECRET_KEY": None}, "there is no API key: set STRIPE_SECRET_KEY"),
        ({"DATABASE_URL": None}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "sqlite:///empty.db"}, "the tables in the database are missing"),
        ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "x" * 31}, "SECRET_KEY has 31 bytes and needs 32"),
        ({"STRIPE_CLIENT_ID": "ca_0123456789"}, "no STRIPE_REDIRECT_URI"),
        (
            {"STRIPE_CLIENT_ID": "ca_0123456789", "STRIPE_REDIRECT_URI": "https://shop.example/back"},
            "there is no key to encrypt tokens with",
        ),
        ({"STRIPE_SECRET_KEY": f"sk_live_{MARK}4242", "STRIPE_WEBHOOK_SECRET": None}, "STRIPE_WEBHOOK_SECRET is missing"),
    ],
)
def test_what_is_missing(site: Site, changes: dict[str, str | None], message: str) -> None:
    """What is missing is said in one line that names the command which makes it, with status 2 and without a secret."""
    site.write(**changes)
    (line,) = site.refused("serve", "--port", "0").splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "`atom-stripe init`" in line


def test_a_file_that_is_named(site: Site) -> None:
    """--env-file names another file, which has to be there; a malformed line is told by its number, without its text."""
    arguments = ("serve", "--port", "0", "--env-file", "other.env")
    assert site.refused(*arguments) == "error: other.env cannot be read: No such file or directory\n"
    (site.folder / "other.env").write_text(f"A=1\nthis is {MARK}\n", encoding="utf-8")
    assert "other.env, line 2: write NAME=value" in site.refused(*arguments)


def test_a_port_that_is_taken(site: Site) -> None:
    """A port that is taken is said in one line."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = site.refused("serve", "--port", str(port))
    assert told.startswith(f"error: cannot listen at 127.0.0.1, port {port}: ")


def test_the_environment_comes_first(site: Site) -> None:
    """What is set in the environment counts more than .env, which others must not read."""
    (site.folder / ".env").chmod(0o644)
    told = site.refused("serve", "--port", "0", SECRET_KEY="short")
    assert "SECRET_KEY has 5 bytes" in told
    assert "Others on this machine can read .env" in told


def test_the_demonstration_takes_no_settings(site: Site) -> None:
    """--sandbox has settings of its own, so that nobody plays with real ones."""
    assert "--sandbox is one process with settings of its own" in site.refused(
        "serve", "--sandbox", "--port", "0", "--workers", "2"
    )


def test_a_token(folder: Path) -> None:
    """A token says who its bearer is and what they may, for as long as was asked for; without a key there is none."""
    done = run(folder, "token", "user_1", "--operator", "--expires", "60", SECRET_KEY=SECRET_KEY)
    assert done.returncode == 0
    claims = jwt.decode(done.stdout.strip(), SECRET_KEY, algorithms=["HS256"])
    assert (claims["sub"], claims["operator"], claims["exp"] - claims["iat"], "platform" in claims) == ("user_1", True, 60, False)
    assert "say --platform" in done.stderr
    done = run(folder, "token", "user_1", "--platform", "--json", SECRET_KEY=SECRET_KEY)
    assert jwt.decode(json.loads(done.stdout)["token"], SECRET_KEY, algorithms=["HS256"])["platform"] is True
    assert done.stderr == ""
    done = run(folder, "token", "user_1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`atom-stripe init` makes one" in done.stderr


@pytest.mark.parametrize(("module", "command"), [("uvicorn", "serve"), ("jwt", "token"), ("fastapi", "token")])
def test_without_the_extra(folder: Path, module: str, command: str) -> None:
    """Where a part is missing, one line says what to install."""
    arguments = [command, *(["user_1"] if command == "token" else [])]
    program = f"import sys; sys.modules[{module!r}] = None; from atom_stripe.cli import main; sys.argv[1:] = {arguments}; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=clean({"SECRET_KEY": SECRET_KEY}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    extra = "fastapi" if module == "fastapi" else "server"
    assert (done.returncode, done.stderr) == (2, f"error: {module} is not installed: pip install 'atom-stripe[{extra}]'\n")


def test_connections_end_with_stripes_word(site: Site) -> None:
    """A user connects through the service, pays into their own account, and is disconnected here when they remove the platform at Stripe."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    back = f"http://127.0.0.1:{port}/api/v1/stripe/oauth/callback"
    site.stripe.oauth.register(back)
    site.write(
        STRIPE_CLIENT_ID=site.stripe.oauth.client_id,
        STRIPE_REDIRECT_URI=back,
        STRIPE_CONNECT_BASE=site.settings["STRIPE_API_BASE"],
        STRIPE_TOKEN_KEYS=Keyring.generate_key(),
    )
    with started(site.folder, "serve", "--port", str(port), "--json") as program, ready(program) as visitor:
        site.stripe.webhooks.deliver_to(f"http://127.0.0.1:{port}/api/v1/stripe/webhooks", WEBHOOK_SECRET, connect=True)
        began = visitor.get("/oauth/authorize", headers=bearer()).json()["url"]
        connected = visitor.get(site.stripe.oauth.consent(began))
        assert connected.status_code == 200, connected.text
        account = connected.json()["account"]
        assert visitor.get("/oauth/status", headers=bearer()).json()["connected"] is True
        assert visitor.post("/payments", json=PAID, headers=bearer()).status_code == 201
        site.stripe.oauth.deauthorize(account)
        program.wait_for("a connection is")
        assert visitor.get("/oauth/status", headers=bearer()).json()["connected"] is False
        code = httpx.URL(str(connected.request.url)).params["code"]
        program.tell()
        assert program.ended()[0] == 0
    assert code not in "".join(program.lines)


def test_tokens_of_another_key(site: Site) -> None:
    """A token that another key signed is nobody's."""
    other = BearerTokens(secrets.token_urlsafe(48)).mint("user_1", platform=True)
    with started(site.folder, "serve", "--port", "0", "--json") as program, ready(program) as visitor:
        answer = visitor.get("/payments", headers={"Authorization": f"Bearer {other}"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
