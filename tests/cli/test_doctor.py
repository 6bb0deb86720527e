"""``atom-stripe doctor``, on a sandbox over HTTP."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe import API_VERSION
from atom_stripe.cli import doctor, settings
from atom_stripe.cli.examining_stores import engine_checks, inbox_checks
from atom_stripe.endpoints import WebhookEndpoints
from atom_stripe.errors import MissingExtraError, StoreError
from atom_stripe.keys import Keyring
from atom_stripe.protocols import Arrival, HandlerState, InboxRecord, Step
from atom_stripe.protocols.engines import EngineHealth
from atom_stripe.stores import sql
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY, LIVE_KEY, WEBHOOK_SECRET
from tests.databases import new_postgres, new_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command, Outcome

URL = "https://shop.example/stripe/webhooks"
SHOP = """
import os

from atom_stripe import AsyncStripeClient, StripeClient, StripeConfig
from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.webhooks import WebhookVerifier

store = SqlInboxStore.from_url(os.environ["DATABASE_URL"])
client = {client}
inbox = {kind}(WebhookVerifier("whsec_0123456789abcdef4242"), store, client=client)

@inbox.on("invoice.paid", name="shop.paid")
def paid(event, context):
    pass
"""


class World:
    """A sandbox over HTTP, and the command with settings that nothing is wrong with."""

    def __init__(self, command: Command, folder: Path) -> None:
        self.sandbox = StripeSandbox()
        self.server = self.sandbox.serve()
        self.command = command
        self.folder = folder
        self.environment = {
            "STRIPE_SECRET_KEY": API_KEY,
            "STRIPE_API_BASE": self.server.url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        self.endpoints = WebhookEndpoints(self.sandbox.client(API_KEY))

    def __call__(self, *arguments: str, **options: Any) -> Outcome:
        return self.command("doctor", *arguments, **{**self.environment, **options})

    def checks(self, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        """Return what is found, and prove that the status and the table say the same."""
        told = self(*arguments, "--json", **options)
        checks: list[dict[str, Any]] = told.json["checks"]
        problems = [check for check in checks if check["result"] == "problem"]
        assert told.status == (1 if problems else 0)
        assert told.json["ok"] == (not problems)
        assert all(check["remedy"] for check in checks if check["result"] in {"problem", "note"})
        return checks

    def of(self, part: str, *arguments: str, **options: Any) -> list[tuple[str, str]]:
        return [(check["result"], check["code"]) for check in self.checks(*arguments, **options) if check["check"] == part]

    def found(self, code: str, *arguments: str, **options: Any) -> dict[str, Any]:
        (found,) = [check for check in self.checks(*arguments, **options) if check["code"] == code]
        return found

    def program(self, *arguments: str, kind: str = "WebhookInbox", client: str = "None", **environment: str) -> Outcome:
        """Run it as a program of its own, for which there is an inbox to import."""
        self.folder.joinpath("shop.py").write_text(SHOP.format(kind=kind, client=client), encoding="utf-8")
        kept = {**self.environment, "PYTHONPATH": str(self.folder), **environment}
        return self.command.program("doctor", "shop:inbox", *arguments, **kept)


@pytest.fixture
def world(on_file: Command, tmp_path: Path) -> Iterator[World]:
    made = World(on_file, tmp_path)
    yield made
    made.sandbox.close()


def test_all_is_well(world: World) -> None:
    """With nothing wrong the status is 0, and the table says what was looked at."""
    world.endpoints.ensure(URL, ["*"])
    done = world()
    assert (done.status, done.stderr) == (0, "")
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert lines[0] == ["RESULT", "CHECK", "FOUND"]
    shown = [(line[0], line[1]) for line in lines[1:] if line[0] != "->"]
    assert shown == [
        ("ok", "settings"),
        ("note", "settings"),
        ("ok", "settings"),
        ("ok", "stripe"),
        ("ok", "clock"),
        ("ok", "endpoints"),
        ("skipped", "endpoints"),
        ("ok", "database"),
        ("ok", "keys"),
        ("ok", "inbox"),
    ]
    assert f"Stripe answers in test mode and in the API version {API_VERSION}" in done.stdout
    assert "-> remove STRIPE_API_BASE, unless it is a sandbox of yours" in done.stdout


# Settings.


@pytest.mark.parametrize(
    ("environment", "code", "result", "told"),
    [
        ({"STRIPE_SECRET_KEY": None}, "bad_settings", "problem", "set STRIPE_SECRET_KEY"),
        ({"STRIPE_SECRET_KEY": f"pk_test_{'k' * 20}"}, "bad_settings", "problem", "this is a publishable key"),
        (
            {"STRIPE_SECRET_KEY": "sk_your_actual_secret_key"},
            "placeholder",
            "problem",
            "STRIPE_SECRET_KEY: this is the placeholder",
        ),
        ({"STRIPE_PUBLISHABLE_KEY": f"pk_live_{'k' * 20}"}, "mode_mismatch", "problem", "STRIPE_PUBLISHABLE_KEY of live mode"),
        ({"STRIPE_PUBLISHABLE_KEY": API_KEY}, "secret_is_public", "problem", "this one is sent to browsers"),
        ({"STRIPE_CLIENT_SECRET": LIVE_KEY}, "mode_mismatch", "problem", "STRIPE_CLIENT_SECRET of live mode"),
        ({"STRIPE_API_VERSION": "2024-06-20"}, "other_version", "note", "STRIPE_API_VERSION asks for 2024-06-20"),
        ({"STRIPE_WEBHOOK_SECRET": None}, "no_webhook_secret", "note", "STRIPE_WEBHOOK_SECRET is not set"),
        ({"STRIPE_WEBHOOK_SECRET": API_KEY}, "bad_webhook_secret", "problem", "STRIPE_WEBHOOK_SECRET: "),
        ({"STRIPE_CLIENT_ID": "ca_0123456789"}, "bad_oauth_settings", "problem", "set STRIPE_REDIRECT_URI"),
        ({"STRIPE_CLIENT_ID": API_KEY}, "bad_oauth_settings", "problem", "client_id looks like ca_…"),
        ({"STRIPE_REDIRECT_URI": "shop.example/back"}, "bad_oauth_settings", "problem", "redirect"),
        ({"ENVIRONMENT": "production"}, "test_in_production", "note", "the key of test mode moves no money"),
    ],
)
def test_settings(world: World, environment: dict[str, str | None], code: str, result: str, told: str) -> None:
    """What is wrong with a variable is told by its name, without its value."""
    found = world.found(code, **environment)
    assert (found["check"], found["result"]) == ("settings", result)
    assert told in found["message"]


def test_settings_of_oauth(world: World) -> None:
    """Where Stripe sends users back to is shown, without what is secret about it."""
    done = world(STRIPE_CLIENT_ID="ca_0123456789", STRIPE_REDIRECT_URI="https://shop.example/back?key=abc")
    assert "OAuth comes back to https://shop.example/back\n" in done.stdout
    assert "abc" not in done.stdout


def test_without_a_key_the_rest_is_looked_at(world: World) -> None:
    """Stripe is not asked, and the database is."""
    assert world.of("stripe", STRIPE_SECRET_KEY=None) == [("skipped", "no_key")]
    assert world.of("database", STRIPE_SECRET_KEY=None) == [("ok", "ok")]


# Stripe.


@pytest.mark.parametrize(
    ("fault", "result", "code"),
    [
        ({"status": 401, "code": "api_key_expired"}, "problem", "bad_key"),
        ({"status": 403}, "note", "restricted_key"),
        ({"status": 500}, "problem", "stripe_failed"),
    ],
)
def test_a_stripe_that_refuses(world: World, fault: dict[str, Any], result: str, code: str) -> None:
    """A key that is not accepted, one that may not read endpoints, and a Stripe in trouble are told apart."""
    for _ in range(2):
        world.sandbox.faults.next(**fault, operation="GET /v1/webhook_endpoints")
    assert world.of("stripe") == [(result, code)]


def test_a_stripe_that_is_away(world: World) -> None:
    """No answer is a problem, told within seconds, and the rest is looked at."""
    world.server.close()
    found = world.checks()
    assert [(check["result"], check["code"]) for check in found if check["check"] == "stripe"] == [("problem", "no_answer")]
    assert "inbox" in {check["check"] for check in found}


@pytest.mark.parametrize(
    ("off", "result", "told"),
    [
        (2.0, "ok", "is right"),
        (20.0, "note", "20 s ahead of Stripe's"),
        (600.0, "problem", "600 s ahead of Stripe's"),
        (-600.0, "problem", "600 s behind Stripe's"),
    ],
)
def test_the_clock(off: float, result: str, told: str) -> None:
    """A clock that is off is found by the date of Stripe's answer, which tells whole seconds and was written while we waited."""
    theirs = 1_800_000_000.0
    date = "Fri, 15 Jan 2027 08:00:00 GMT"
    before = theirs + off + 1.0 if off > 0 else theirs + off - 0.5
    found = doctor._clock(date, before, before + 0.5)
    assert found.result == result
    assert told in found.message


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_an_answer_without_a_date(date: str | None) -> None:
    """Without a date nothing is said about the clock."""
    assert doctor._clock(date, 1.0, 2.0).result == "skipped"


def test_the_clock_of_this_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command compares the clock of the machine that it runs on."""
    monkeypatch.setattr(doctor, "time", SimpleNamespace(time=lambda: time.time() - 3600))
    assert world.found("clock_skew")["result"] == "problem"


# Endpoints.


def test_without_an_endpoint(world: World) -> None:
    """Nothing is delivered, and the remedy is a command."""
    found = world.found("no_endpoint")
    assert found["remedy"] == "atom-stripe endpoints create URL --enabled-events TYPES"


def test_endpoints_are_told_by_their_ids(world: World) -> None:
    """Findings name the endpoint, and so do the commands that mend it; an URL chooses which are looked at."""
    made = world.endpoints.ensure(URL, ["*"], api_version="2024-06-20").endpoint
    world.endpoints.disable(made)
    found = world.found("disabled")
    assert (found["result"], found["endpoint"]) == ("problem", made.id)
    assert found["remedy"].startswith(f"atom-stripe endpoints enable {made.id}")
    assert world.found("no_endpoint", "--url", "https://other.example/")["result"] == "problem"
    world.endpoints.enable(made)
    assert world.found("other_version")["remedy"].startswith(f"atom-stripe endpoints roll {made.id}")
    assert world.found("no_connect_endpoint", "--connect")["result"] == "problem"


CLIENTS = [
    ("WebhookInbox", "None"),
    ("WebhookInbox", "StripeClient(config=StripeConfig.from_env())"),
    ("AsyncWebhookInbox", "AsyncStripeClient(config=StripeConfig.from_env())"),
]


@pytest.mark.parametrize(("kind", "client"), CLIENTS, ids=["its own client", "the inbox's client", "an async client"])
def test_handlers_are_compared(world: World, kind: str, client: str) -> None:
    """With the program's inbox, its handlers are compared with what endpoints deliver, whoever asks Stripe."""
    made = world.endpoints.ensure(URL, ["invoice.voided"]).endpoint
    done = world.program("--json", kind=kind, client=client)
    assert done.status == 1, done.stderr
    endpoints = {check["code"]: check for check in done.json["checks"] if check["check"] == "endpoints"}
    assert set(endpoints) == {"not_subscribed", "not_handled"}
    assert "shop.paid waits for invoice.paid" in endpoints["not_subscribed"]["message"]
    assert endpoints["not_handled"]["endpoint"] == made.id
    world.endpoints.ensure(URL, ["invoice.paid"])
    done = world.program(kind=kind, client=client)
    assert (done.status, done.stderr) == (0, "")
    assert "1 webhook endpoint and 1 handler fit each other" in done.stdout
    assert "there is none: each worker looks into the store by itself" in done.stdout


def test_a_client_without_a_variable(world: World) -> None:
    """An inbox with a client of its own needs no key in the environment; one of the other mode is a problem."""
    world.endpoints.ensure(URL, ["invoice.paid"])
    client = 'StripeClient(config=StripeConfig.from_env(api_key=os.environ["SHOP_KEY"]))'
    done = world.program("--json", client=client, STRIPE_SECRET_KEY="", SHOP_KEY=API_KEY)
    assert (done.status, done.stderr) == (0, "")
    assert "the inbox has a client of its own" in done.json["checks"][0]["message"]
    done = world.program("--json", client=client, STRIPE_SECRET_KEY=LIVE_KEY, SHOP_KEY=API_KEY)
    assert done.status == 1
    assert [check["message"] for check in done.json["checks"] if check["code"] == "mode_mismatch"] == [
        "STRIPE_SECRET_KEY is of live mode, and the client of the inbox of test mode"
    ]


def test_an_inbox_that_is_not_there(world: World) -> None:
    """A name that leads nowhere is wrong usage."""
    done = world("no.such:inbox")
    assert (done.status, done.stdout) == (2, "")
    assert "there is no module no" in done.stderr


# The database.


def test_no_database(world: World) -> None:
    """Without a database nothing is said about it."""
    assert world.of("database", DATABASE_URL=None) == [("skipped", "no_database")]
    assert world.of("inbox", DATABASE_URL=None) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_tables_that_are_old(world: World, kind: str, request: pytest.FixtureRequest) -> None:
    """Before the upgrade the remedy is the upgrade, and nothing else is asked of the database."""
    with new_sqlite() if kind == "sqlite" else new_postgres(request.getfixturevalue("postgres_server")) as url:
        if kind == "sqlite":
            Path(url.removeprefix("sqlite:///")).touch()
        found = world.found("old_tables", DATABASE_URL=url)
        assert found["remedy"] == "atom-stripe db upgrade"
        assert "no revision, 0001, " in found["message"]
        assert world.of("inbox", DATABASE_URL=url) == world.of("keys", DATABASE_URL=url) == []


def test_a_file_that_is_not_there(world: World) -> None:
    """Looking makes no file."""
    with new_sqlite() as url:
        assert world.found("old_tables", DATABASE_URL=url)["message"].startswith("there is no such file")
        assert not Path(url.removeprefix("sqlite:///")).exists()


def test_a_database_that_is_away(world: World) -> None:
    """A database that does not answer is a problem, and its password is not shown."""
    found = world.found("store_failed", DATABASE_URL=f"postgresql://user:{WEBHOOK_SECRET}@127.0.0.1:1/app")
    assert (found["check"], found["result"]) == ("database", "problem")
    assert "DATABASE_URL" in found["remedy"]


def test_tokens_in_plaintext(world: World, command: Command) -> None:
    """Plaintext tokens from before this package are found, in each kind of database."""
    with command.store._database.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE stripe_oauth_tokens_original (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, access_token TEXT NOT NULL)"
        )
        connection.exec_driver_sql("INSERT INTO stripe_oauth_tokens_original VALUES (1, 'u', 'sk_test_0123456789')")
    found = world.found("plaintext_tokens", DATABASE_URL=command.environment["DATABASE_URL"])
    assert found["remedy"].startswith("atom-stripe connections import")


def test_keys_that_tokens_need(world: World) -> None:
    """A key that rows need and nobody has is a problem; with it, all is well, also for a URL with a password in it."""
    world.command.seed("1")
    old = world.command.keys[0]
    assert world.of("keys") == [("ok", "ok")]
    world.command.keys = [Keyring.generate_key("two")]
    found = world.found("missing_keys")
    assert "one: 1 of 1 connection need" in found["message"]
    assert found["remedy"] == "put it back, behind the first one"
    world.command.keys.append(old)
    assert world.of("keys") == [("ok", "ok")]
    assert world.found("bad_keys", STRIPE_TOKEN_KEYS="")["message"].endswith("1 connection in the database")


def test_neither_keys_nor_connections(world: World) -> None:
    """Who connects no users needs no keys."""
    assert world.of("keys", STRIPE_TOKEN_KEYS="") == [("ok", "ok")]


def test_connections_that_cannot_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails in the middle is a problem, and the rest is looked at."""

    def away(*_: object) -> Any:
        msg = "the store could not find connections"
        raise StoreError(msg)

    monkeypatch.setattr(settings, "rows_by_key", away)
    assert world.of("keys") == [("problem", "store_failed")]


def test_a_driver_that_is_not_installed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver the database cannot be looked at, and the message says what to install."""

    def missing(*_: object) -> Any:
        msg = "psycopg is not installed: pip install 'atom-stripe[postgres]'"
        raise MissingExtraError(msg, name="psycopg")

    monkeypatch.setattr(sql, "pending", missing)
    found = world.found("missing_extra")
    assert (found["check"], found["result"]) == ("database", "skipped")
    assert "pip install" in found["message"]
    assert world.of("inbox") == []


def test_a_url_with_a_password(world: World, postgres_url: str) -> None:
    """A URL with a password in DATABASE_URL is used, and refused as an argument."""
    url = postgres_url.replace("postgres:@", "postgres:secret@")
    assert world.of("database", DATABASE_URL=url) == [("problem", "old_tables")]
    assert world("--database-url", url).status == 2


# The inbox and its engine.


def arrival(name: str, received_at: float) -> Arrival:
    return Arrival(
        event_id=name,
        type="invoice.paid",
        account="",
        livemode=False,
        lane=name,
        payload=b"{}",
        endpoint="main",
        received_at=received_at,
    )


def test_an_inbox_that_stands_still(world: World) -> None:
    """Parked events and events that nobody handles are problems; a paused handler may be meant."""
    with SqlInboxStore.from_url(world.command.environment["DATABASE_URL"]) as store:
        assert world.of("inbox") == [("ok", "ok")]
        store.append([arrival("evt_1", time.time()), arrival("evt_2", time.time() - 3600)])
        record = store.claim("evt_1", "run", 60.0)
        assert isinstance(record, InboxRecord)
        handlers = {"shop": HandlerState(status="parked", attempts=10, error="LookupError: no")}
        store.advance(Step(id=record.id, run="run", handlers=handlers, status="parked"))
        assert world.command("inbox", "pause", "shop", "--new").status == 0
    assert world.of("inbox") == [("problem", "parked"), ("problem", "late"), ("note", "paused")]


class Engine:
    """An engine with tables."""

    def __init__(self, steps: list[str], waiting: int | None = 3) -> None:
        self.steps = steps
        self.waiting = waiting

    def pending(self) -> list[str]:
        if "fail" in self.steps:
            msg = "the engine could not look at its tables"
            raise StoreError(msg)
        return self.steps

    def health(self) -> EngineHealth:
        return EngineHealth(running=False, listening=False, restarts=0, error=None, waiting=self.waiting, recovered=0)


class Known(Engine):
    __module__ = "atom_stripe.engines.pgqueuer"


@pytest.mark.parametrize(
    ("engine", "code", "told"),
    [
        (Engine(["install"]), "old_engine_tables", "upgrade() of the engine"),
        (Known(["install", "more"]), "old_engine_tables", "atom-stripe db upgrade --engine pgqueuer"),
        (Engine(["fail"]), "store_failed", "see that the database runs"),
        (Engine([]), "ok", "up to date; 3 jobs"),
        (Engine([], None), "ok", "an unknown number of jobs"),
    ],
)
def test_an_engine(engine: Any, code: str, told: str) -> None:
    """The engine's own tables are looked at, and the remedy names its command."""
    (found,) = engine_checks(engine)
    assert found.code == code
    assert told in f"{found.message} -> {found.remedy}"


def test_an_inbox_that_does_not_answer() -> None:
    """A store that is away is a problem, not the end of the command."""

    class Away:
        def counts(self) -> Any:
            msg = "the store could not count events"
            raise StoreError(msg)

    store: Any = Away()
    assert [(found.result, found.code) for found in inbox_checks(store)] == [("problem", "store_failed")]
