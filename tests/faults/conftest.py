"""A sandbox over HTTP, a shared store, connections to renew, and workers that may be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe import Keyring, OAuthConfig, OAuthManager
from atom_stripe._engine.drive import run
from atom_stripe.protocols import Reference
from atom_stripe.stores.sql import upgrade
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing._state import grants
from tests.faults import worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atom_stripe.protocols import TokenRecord

# Bounds for what is usually over in seconds; they are only reached when something is broken.
PATIENCE = 45.0
ROOT = Path(__file__).parents[2]
REDIRECT = "https://example.com/callback"


class Job:
    """A worker, and what it reported so far."""

    def __init__(self, pool: Workers, number: int) -> None:
        self._pool = pool
        self.number = number
        self.messages: list[dict[str, Any]] = []
        self.status: int | None = None

    def found(self, key: str) -> list[Any]:
        """Return what was reported under *key*."""
        return [message[key] for message in list(self.messages) if key in message]

    def wait_for(self, key: str, *, number: int = 1) -> Any:
        """Return what is reported under *key*, once it is there *number* times."""

        def there() -> bool:
            return len(self.found(key)) >= number or self.status is not None

        self._pool.wait(there, f"{key} of worker {self.number}: {self.messages[-5:]}")
        found = self.found(key)
        assert len(found) >= number, f"worker {self.number} ended with {self.status} before it reported {key}: {self.messages[-5:]}"
        return found[number - 1]

    def ended(self) -> int:
        """Return the exit status, negative for a signal, once it is there."""
        self._pool.wait(lambda: self.status is not None, f"the end of worker {self.number}: {self.messages[-5:]}")
        assert self.status is not None
        return self.status

    def send(self, number: int) -> None:
        """Send a signal, if it is still there."""
        self._pool.order({"job": self.number, "signal": number})


class Workers:
    """A nest of workers. See ``tests/faults/worker.py``."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._jobs: dict[int, Job] = {}
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, program: str, settings: dict[str, Any], **params: Any) -> Job:
        """Start a worker."""
        job = Job(self, next(self._numbers))
        with self._changed:
            self._jobs[job.number] = job
        self.order({"job": job.number, "program": program, "settings": settings, "params": params})
        return job

    def order(self, order: dict[str, Any]) -> None:
        """Tell the nest something."""
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return once *condition* holds; look whenever something is reported."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"waited in vain for {what}"

    def kill_all(self) -> None:
        """End what a test left behind, and forget it."""
        for job in list(self._jobs.values()):
            if job.status is None:
                job.send(9)
                job.ended()
        crashed = [word for job in self._jobs.values() for word in job.found("crashed")]
        with self._changed:
            self._jobs.clear()
        assert not crashed, crashed

    def close(self) -> None:
        """End the nest, and with it whatever still runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(PATIENCE)
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                job = self._jobs.get(message["job"])
                if job is not None:
                    job.messages.append(message)
                    if "ended" in message:
                        job.status = message["ended"]
                self._changed.notify_all()


class Stage:
    """One test's world: Stripe, a store, and the connections of users ``user_0``, ``user_1``, …"""

    def __init__(self, workers: Workers, store_url: str, folder: Path) -> None:
        self.workers = workers
        self.store_url = store_url
        self.folder = folder
        # Of our own time, so that Stripe's events and our rows can be compared.
        self.sandbox = StripeSandbox(start=datetime.now(UTC).replace(microsecond=0))
        self.server = self.sandbox.serve(port=0)
        self.sandbox.oauth.register(REDIRECT)
        self.token_keys = [Keyring.generate_key("new"), Keyring.generate_key("old")]
        self.stripe = self.server.config()
        if not store_url.startswith(("redis:", "unix:")):
            upgrade(store_url)
        self.store, self._close_store = worker.opened(store_url)
        self.connecting = self.manager()

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return what a worker is told. *oauth*: settings of its ``OAuthConfig``; *points*: where it meets its fate."""
        return {
            "stripe": self.server.url,
            "key": self.stripe.api_key.get_secret_value(),
            "client_id": self.sandbox.oauth.app_client_id,
            "token_keys": self.token_keys,
            "store": self.store_url,
            "oauth": {"lease": 2.0, "refresh_timeout": 1.5, "wait": 20.0},
            **changes,
        }

    def start(self, program: str, settings: dict[str, Any] | None = None, **params: Any) -> Job:
        """Start a worker with *settings* above the usual ones."""
        return self.workers.start(program, self.settings(**(settings or {})), **params)

    def manager(self, store: Any = None, http_client: Any = None, keys: list[str] | None = None, **settings: Any) -> OAuthManager:
        """Return a manager in this process."""
        hook = settings.pop("hook", None)
        clock = settings.pop("clock", time.time)
        oauth = {"lease": 2.0, "refresh_timeout": 1.5, "wait": 20.0, **settings}
        return OAuthManager(
            OAuthConfig(
                stripe=self.stripe,
                client_id=self.sandbox.oauth.app_client_id,
                redirect_uris=(REDIRECT,),
                profile="stripe_app",
                **oauth,
            ),
            store or self.store,
            keys=Keyring(keys or self.token_keys),
            http_client=http_client,
            on_reauthorization_required=hook,
            clock=clock,
        )

    def connect(self, *users: str, expired: bool = True) -> None:
        """Connect *users*, each with a new account, and let their access tokens have run out."""
        for user in users:
            url = self.connecting.authorize_url(user, session="browser")
            returned = httpx.URL(self.sandbox.oauth.consent(url)).params
            self.connecting.callback(returned["code"], returned["state"], session="browser")
            if expired:
                self.expire(user)
        self.sandbox._machine.applications.requests.clear()

    def record(self, user: str) -> TokenRecord:
        """Return the row of *user*."""
        record: TokenRecord | None = self.store.load(Reference(user, "stripe_app", False))
        assert record is not None
        return record

    def change(self, user: str, **fields: Any) -> None:
        """Write into the row of *user*."""
        while not self.store.save(replace(self.record(user), **fields)):
            pass

    def expire(self, user: str, *, left: float | None = None) -> None:
        """Let the access token of *user* have run out, or have *left* seconds."""
        self.change(user, expires_at=1.0 if left is None else time.time() + left)

    def asked(self) -> list[str]:
        """Return how the requests for new tokens ended."""
        return [request.outcome for request in self.sandbox.oauth.token_requests]

    def intents(self) -> set[str | None]:
        """Return the idempotency keys that came."""
        return {request.idempotency_key for request in self.sandbox.oauth.token_requests}

    def wait_asked(self, number: int) -> None:
        """Return once *number* requests for tokens have ended."""
        self.wait(lambda: len(self.asked()) >= number, f"{number} token requests")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return once *condition* holds."""
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, f"waited in vain for {what}"
            time.sleep(0.005)

    def next_token(self, **fault: Any) -> None:
        """Let the next token request meet a fault."""
        self.sandbox.faults.next(operation=f"POST {worker.TOKEN_PATH}", **fault)

    def stored(self, user: str) -> tuple[str | None, str | None]:
        """Return the tokens in the row of *user*, decrypted."""
        record, vault = self.record(user), self.connecting._flows.tokens._vault
        return run(vault.access_token(record)), run(vault.refresh_token(record))

    def valid(self, user: str) -> tuple[set[str], set[str]]:
        """Return the access and refresh tokens of *user*'s account that work at the sandbox."""
        account = self.record(user).account
        machine = self.sandbox._machine

        def alive(kind: str) -> set[str]:
            rows = list(machine.account.table(kind).values())
            return {row["id"] for row in rows if row["account"] == account and not row["ended"]}

        return alive(grants.ACCESS), alive(grants.REFRESH)

    def check_sound(self, *users: str) -> None:
        """Assert that each of *users* has an active row that holds the one refresh token that works."""
        for user in users:
            record = self.record(user)
            access, refresh = self.stored(user)
            good_access, good_refresh = self.valid(user)
            assert (record.state, record.lease_owner, record.intent_key) == ("active", None, None), user
            assert {refresh} == good_refresh, user
            assert access in good_access, user

    def digest(self, user: str) -> str:
        """Return the digest of the access token in the row of *user*."""
        access, _ = self.stored(user)
        assert access is not None
        return worker.digest(access)

    def close(self) -> None:
        """End everything."""
        self.connecting.close()
        self._close_store()
        self.sandbox.close()


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Yield a nest of workers, for the whole run: warm, so that starting one costs nothing."""
    pool = Workers()
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture
def stage_at(workers: Workers, tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    """Return a function that sets up a stage around the store at an URL."""
    with ExitStack() as stack:
        # In this order: no worker runs any more when the stage goes.
        made: list[Stage] = []
        stack.callback(lambda: [stage.close() for stage in made])
        stack.callback(workers.kill_all)

        def make(url: str) -> Stage:
            made.append(Stage(workers, url, tmp_path))
            return made[-1]

        yield make


@pytest.fixture
def stage(stage_at: Callable[[str], Stage], sqlite_url: str) -> Stage:
    """Return a stage around an SQLite file."""
    return stage_at(sqlite_url)


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def any_stage(request: pytest.FixtureRequest, stage_at: Callable[[str], Stage]) -> Stage:
    """Return a stage around each kind of store in turn."""
    if request.param == "redis":
        return stage_at(f"{request.getfixturevalue('redis_url')}#{request.getfixturevalue('redis_prefix')}")
    return stage_at(request.getfixturevalue(f"{request.param}_url"))
