"""What the steps of ``make demo`` work with: the service over HTTP, its file, the Stripe behind it, and a worker that can be killed."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import uvicorn
from demo_service import API, TABLE, create_app
from pydantic import SecretStr

from atom_stripe import Keyring, OAuthConfig, OAuthManager, StripeClient
from atom_stripe.contrib.fastapi import BearerTokens
from atom_stripe.stores.sql import SqlInboxStore, SqlTokenStore, upgrade
from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from fastapi import FastAPI

# Seconds. Nothing takes this long; it keeps the demo from waiting for ever.
PATIENCE = 45.0
MERCHANT = "merchant_1"
WORKER = "demo_worker:inbox"


class NotTrueError(Exception):
    """A line of the story is not true."""


def check(fact: object, otherwise: str) -> None:
    """Go on only if *fact* is true."""
    if not fact:
        raise NotTrueError(otherwise)


class Entry(NamedTuple):
    """A row of the ledger. *lane*: the object that the event is about; *place*: its place among the events that arrived."""

    event: str
    type: str
    lane: str
    place: int
    amount: int
    attempt: int
    worker: int


class Worker:
    """``atom-stripe worker`` in a process of its own. Its end is this program's to decide, and it does not outlive it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that works now, or worked last."""
        if self._process is None:
            raise NotTrueError("no worker was started")
        return self._process

    def start(self) -> None:
        """Start a process; the one before has ended."""
        command = [sys.executable, "-m", "atom_stripe.cli", "worker", WORKER]
        with (self._folder / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def hold(self) -> None:
        """Let it stand still, wherever it is."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> int | None:
        """Kill it with SIGKILL, if it lives, and return its exit status."""
        if self._process is None:
            return None
        self._process.kill()
        if self._process.stdin:
            self._process.stdin.close()
        return self._process.wait()

    def check(self) -> None:
        """Say so if it has ended by itself."""
        if self.process.poll() is not None:
            said = (self._folder / "worker.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise NotTrueError(f"the worker ended by itself: {said[-1] if said else 'it said nothing'}")


@dataclass(slots=True)
class Day:
    """The service as its callers see it, a client of our own, and what is behind both. *account*: the merchant's, once connected."""

    service: httpx.Client
    oauth: OAuthManager
    stripe: StripeClient
    sandbox: StripeSandbox
    folder: Path
    worker: Worker
    inbox: SqlInboxStore
    tokens: BearerTokens
    webhook_secret: str = field(repr=False)
    account: str = ""

    @property
    def merchant(self) -> dict[str, str]:
        """What the merchant's browser sends along: who calls."""
        return {"Authorization": f"Bearer {self.tokens.mint(MERCHANT)}"}

    @property
    def operator(self) -> dict[str, str]:
        """The same for whoever runs the service."""
        return {"Authorization": f"Bearer {self.tokens.mint('operator', operator=True)}"}

    @property
    def in_account(self) -> StripeClient:
        """A client of the merchant's account, to see what is true there."""
        return self.stripe.with_options(stripe_account=self.account)

    def get(self, path: str, **query: str) -> Any:
        """Ask the service as the merchant."""
        return self.service.get(path, params=query, headers=self.merchant).json()

    def post(self, path: str, key: str = "", /, **body: Any) -> httpx.Response:
        """Send the service something as the merchant, perhaps under an idempotency key."""
        return self.service.post(path, json=body, headers={**self.merchant, **({"Idempotency-Key": key} if key else {})})

    def made(self, path: str, key: str = "", /, **body: Any) -> Any:
        """Send the service something, and return what it made."""
        answer = self.post(path, key, **body)
        check(answer.status_code in {200, 201}, f"the service answered {answer.status_code} to POST {path}")
        return answer.json()

    def pay(self, order: str, card: str = "pm_card_visa", amount: int = 2000) -> httpx.Response:
        """Take the payment of an order."""
        details = {"amount": amount, "currency": "usd", "payment_method": card, "metadata": {"order": order}}
        return self.post("/payments", f"{order}-{card}", **details, confirm=True)

    def ledger(self) -> list[Entry]:
        """Return what the handlers have written and committed, in that order."""
        with closing(sqlite3.connect(self.folder / "demo.db", timeout=PATIENCE)) as database:
            rows = database.execute("SELECT event, type, lane, place, amount, attempt, worker FROM ledger ORDER BY number")
            return [Entry(*row) for row in rows]

    def delivered(self) -> list[str]:
        """Return the ids of the events that Stripe delivered, in that order, each once."""
        return list(dict.fromkeys(one.event for one in self.sandbox.webhooks.deliveries if one.ok))

    def wait(self, fact: Callable[[], object], otherwise: str) -> None:
        """Wait until *fact* is true."""
        until = time.monotonic() + PATIENCE
        while not fact():
            self.worker.check()
            check(time.monotonic() < until, otherwise)
            time.sleep(0.01)

    def settle(self) -> None:
        """Wait until every event has been delivered and handled."""
        self.sandbox.webhooks.wait(PATIENCE)
        self.wait(lambda: not self.inbox.counts().pending, "events wait, and the worker does not handle them")
        parked = self.inbox.counts().parked
        check(not parked, f"{parked} events were given up on")


@contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Generator[None]:
    """Run *app* under uvicorn on *listener*, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="service")
    thread.start()
    try:
        until = time.monotonic() + PATIENCE
        while not server.started:
            check(thread.is_alive() and time.monotonic() < until, "the service does not start")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@contextmanager
def opened() -> Generator[Day]:
    """Start the Stripe, the service and its worker, introduce them to each other, and end them all: nothing is left."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atom-stripe-demo-")))
        database = f"sqlite:///{folder / 'demo.db'}"
        upgrade(database)
        with closing(sqlite3.connect(folder / "demo.db")) as connection:
            connection.execute(TABLE)
        sandbox = stack.enter_context(StripeSandbox(seed=42))
        server = sandbox.serve()
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        api = f"http://127.0.0.1:{listener.getsockname()[1]}{API}"
        sandbox.oauth.register(f"{api}/oauth/callback")
        # One endpoint for the platform's own account, one for those that are connected to it, as at Stripe.
        webhook_secret = f"whsec_{secrets.token_hex(24)}"
        for connect in (False, True):
            sandbox.webhooks.deliver_to(f"{api}/webhooks", webhook_secret, connect=connect)
        # The same settings that `atom-stripe init` makes for a service of yours.
        config = OAuthConfig(
            stripe=server.config(webhook_secrets=(webhook_secret,)),
            client_id=sandbox.oauth.client_id,
            redirect_uris=(f"{api}/oauth/callback",),
            token_keys=(SecretStr(Keyring.generate_key()),),
        )
        tokens = BearerTokens(secrets.token_urlsafe(48))
        worker = Worker(folder, {"DATABASE_URL": database, "STRIPE_WEBHOOK_SECRET": webhook_secret})
        stack.callback(worker.kill)
        worker.start()
        stack.enter_context(serving(create_app(config, database, webhook_secret, tokens), listener))
        store = stack.enter_context(SqlTokenStore.from_url(database))
        yield Day(
            service=stack.enter_context(httpx.Client(base_url=api, timeout=PATIENCE, trust_env=False)),
            oauth=stack.enter_context(OAuthManager(config, store)),
            stripe=stack.enter_context(StripeClient(config=config.stripe)),
            sandbox=sandbox,
            folder=folder,
            worker=worker,
            inbox=stack.enter_context(SqlInboxStore.from_url(database)),
            tokens=tokens,
            webhook_secret=webhook_secret,
        )
