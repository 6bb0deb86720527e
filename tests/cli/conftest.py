"""The command, run in this process or as a program of its own, and databases for it to work on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from atom_stripe._engine.connect.ports import Keys
from atom_stripe._engine.connect.vault import Vault
from atom_stripe._engine.drive import run
from atom_stripe.cli.app import app
from atom_stripe.keys import Keyring
from atom_stripe.protocols import TokenQuery, TokenRecord
from atom_stripe.stores.sql import SqlTokenStore, upgrade
from tests.canary import ACCESS_TOKEN, MARK, REFRESH_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_700_000_000.0


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and how it ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)


@dataclass
class Command:
    """``atom-stripe`` with an environment."""

    environment: dict[str, str]
    store: SqlTokenStore
    keys: list[str] = field(default_factory=lambda: [Keyring.generate_key("one")])

    @property
    def settings(self) -> dict[str, str]:
        return {"STRIPE_TOKEN_KEYS": ",".join(self.keys), **self.environment}

    @property
    def keyring(self) -> Keyring:
        return Keyring(self.keys)

    def __call__(self, *arguments: str, input: str = "", **environment: str | None) -> Outcome:
        """Run it in this process."""
        result = CliRunner().invoke(app, list(arguments), input=input, env={**self.settings, **environment})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return checked(Outcome(result.exit_code, result.stdout, result.stderr))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start it as a program of its own."""
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        return subprocess.Popen(
            [sys.executable, "-m", "atom_stripe.cli", *arguments],
            env={**kept, **self.settings, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def program(self, *arguments: str, input: str = "", **environment: str) -> Outcome:
        """Run it as a program of its own."""
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(input, timeout=100)
        return checked(Outcome(process.returncode, stdout, stderr))

    # Rows.

    def seed(self, name: str = "1", *, keys: Keyring | None = None, token: str = ACCESS_TOKEN, **changes: Any) -> TokenRecord:
        """Store a connection."""
        account = f"acct_{name}"
        values: dict[str, Any] = {
            "id": f"con_{name}",
            "user_id": f"user_{name}",
            "profile": "connect",
            "livemode": False,
            "generation": 1,
            "account": account,
            "stripe_user_id": account,
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
        vault = Vault(Keys(keys or self.keyring), os.urandom)
        record = vault.put(TokenRecord(**values), token, REFRESH_TOKEN, run(vault.key()))
        assert self.store.save(record)
        return record

    def rows(self) -> list[TokenRecord]:
        return list(self.store.find(TokenQuery(limit=10_000)))

    def tokens(self, row: TokenRecord) -> tuple[str | None, str | None]:
        """Decrypt the tokens of *row* with the present keys."""
        vault = Vault(Keys(self.keyring), os.urandom)
        return run(vault.access_token(row)), run(vault.refresh_token(row))


def checked(outcome: Outcome) -> Outcome:
    """No command shows a secret, a traceback or a colour."""
    for text in (outcome.stdout, outcome.stderr):
        assert MARK not in text
        assert "Traceback" not in text
        assert "\x1b[" not in text
    return outcome


@pytest.fixture
def command(database_url: str) -> Iterator[Command]:
    """Yield the command on a database with our tables, of each kind."""
    yield from made(database_url)


@pytest.fixture
def on_file(sqlite_url: str) -> Iterator[Command]:
    """Yield the command on an SQLite file with our tables."""
    yield from made(sqlite_url)


def made(url: str) -> Iterator[Command]:
    upgrade(url)
    with SqlTokenStore.from_url(url) as store:
        yield Command({"DATABASE_URL": url}, store)
