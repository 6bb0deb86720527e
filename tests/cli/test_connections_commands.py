"""``atom-stripe connections``, without the import."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe.cli import settings
from atom_stripe.config import StripeConfig
from atom_stripe.errors import StoreError
from atom_stripe.keys import Keyring
from atom_stripe.oauth import OAuthManager
from atom_stripe.oauth_config import OAuthConfig
from atom_stripe.protocols import Reference, TokenQuery
from atom_stripe.stores.sql import SqlTokenStore
from atom_stripe.testing import StripeSandbox
from tests.canary import ACCESS_TOKEN, API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.protocols import Profile
    from tests.cli.conftest import Command

CALLBACK = "https://service.example/stripe/callback"


class World:
    """A sandbox over HTTP, and users who connect to it."""

    def __init__(self, command: Command) -> None:
        self.sandbox = StripeSandbox()
        self.sandbox.oauth.register(CALLBACK)
        self.server = self.sandbox.serve()
        self.command = command
        self.environment = {"STRIPE_SECRET_KEY": API_KEY, "STRIPE_API_BASE": self.server.url}

    def config(self, profile: Profile) -> OAuthConfig:
        oauth = self.sandbox.oauth
        return OAuthConfig(
            stripe=self.server.config(api_key=API_KEY),
            client_id=oauth.app_client_id if profile == "stripe_app" else oauth.client_id,
            redirect_uris=(CALLBACK,),
            profile=profile,
        )

    def connect(self, user_id: str, profile: Profile = "stripe_app", *, left: float = 3600) -> None:
        """Connect a user, whose access token runs out in *left* seconds."""
        clock = lambda: time.time() - 3600 + left  # noqa: E731 - passed on
        with OAuthManager(self.config(profile), self.command.store, keys=self.command.keyring, clock=clock) as manager:
            url = manager.authorize_url(user_id, session="browser")
            back = httpx.URL(self.sandbox.oauth.consent(url)).params
            manager.callback(back["code"], back["state"], session="browser")

    def row(self, user_id: str, profile: Profile = "stripe_app") -> Any:
        return self.command.store.load(Reference(user_id, profile, False))


@pytest.fixture
def world(on_file: Command) -> Iterator[World]:
    """Yield a sandbox for the command to call."""
    made = World(on_file)
    yield made
    made.sandbox.close()


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# Looking.


def test_the_list(command: Command) -> None:
    """Every connection is listed in columns that no width of a terminal changes."""
    command.seed("1", expires_at=1_700_003_600.0)
    command.seed("2", profile="stripe_app", livemode=True, state="reauthorization_required", user_id="a-very-long-user-id-" * 8)
    done = command("connections", "list", COLUMNS="20")
    assert done.status == 0
    assert words(done.stdout) == [
        ["USER", "ACCOUNT", "PROFILE", "MODE", "STATE", "EXPIRES"],
        ["user_1", "acct_1", "connect", "test", "active", "2023-11-14", "23:13:20Z"],
        ["a-very-long-user-id-" * 8, "acct_2", "stripe_app", "live", "reauthorization_required", "-"],
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ["1", "2", "3"]),
        (("--state", "revoked"), ["3"]),
        (("--account", "acct_2"), ["2"]),
        (("--livemode",), ["2"]),
        (("--testmode",), ["1", "3"]),
        (("--profile", "stripe_app", "--state", "active"), ["2"]),
        (("--account", "acct_none"), []),
    ],
)
def test_what_is_listed(command: Command, options: tuple[str, ...], found: list[str]) -> None:
    """Options narrow the list, and JSON holds every field but the tokens."""
    command.seed("1")
    command.seed("2", livemode=True, profile="stripe_app")
    command.seed("3", state="revoked")
    done = command("connections", "list", "--json", *options)
    assert [one["id"] for one in done.json] == [f"con_{name}" for name in found]
    assert all("access_token" not in one and one["account"].startswith("acct_") for one in done.json)


def test_times_without_end(command: Command) -> None:
    """A time that is infinite leaves the document JSON that every reader reads."""
    command.seed("1", expires_at=float("inf"))
    assert command("connections", "list", "--json").json[0]["expires_at"] is None
    assert words(command("connections", "list").stdout)[1][-1] == "inf"


def test_bytes_that_move_the_cursor(on_file: Command) -> None:
    """What stands in the database cannot write on the terminal of whoever looks at it."""
    on_file.seed("1", user_id="user\x1b[2J\n1")
    done = on_file("connections", "list")
    assert words(done.stdout)[1][0] == "user\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}1"


def test_one_user(command: Command) -> None:
    """All connections of a user are shown, with the key that each needs; somebody without any is found wrong."""
    command.seed("1", user_id="user_1")
    command.seed("2", user_id="user_1", livemode=True)
    done = command("connections", "show", "user_1")
    assert done.status == 0
    assert done.stdout.count("has_refresh_token") == 2
    assert ["key_id", "one"] in words(done.stdout)
    assert [one["livemode"] for one in command("connections", "show", "user_1", "--json").json] == [False, True]
    nobody = command("connections", "show", "user_2", "--json")
    assert (nobody.status, nobody.json, nobody.stderr) == (1, [], "This user has no connection.\n")


def test_whose_token_it_is(command: Command) -> None:
    """A token on stdin is found, also under an older key, and is not shown."""
    command.seed("1")
    command.seed("2", token=f"{ACCESS_TOKEN}2")
    command.keys.insert(0, Keyring.generate_key("two"))
    assert command("connections", "find", "--json", input=f"  {ACCESS_TOKEN}2\n").json[0]["user_id"] == "user_2"
    nobody = command("connections", "find", input=f"{ACCESS_TOKEN}3\n")
    assert (nobody.status, nobody.stderr) == (1, "No connection has this token now.\n")
    nothing = command("connections", "find", input="\n")
    assert (nothing.status, nothing.stderr) == (2, "error: there is no token on stdin\n")


# Ending.


def test_forgetting(command: Command) -> None:
    """The tokens are deleted, Stripe is not asked, and no key of Stripe's is needed."""
    command.seed("1")
    done = command("connections", "forget", "user_1", "--json")
    assert (done.status, done.json["state"]) == (0, "revoked")
    (row,) = command.rows()
    assert (row.access_token, row.refresh_token, row.key_id, row.state) == (None, None, None, "revoked")
    assert command("connections", "forget", "user_1").status == 0
    nobody = command("connections", "forget", "user_2", "--json")
    assert (nobody.status, nobody.json["error"]) == (1, "NotConnectedError")
    assert nobody.stderr == "error: this user is not connected to Stripe\n"


def test_forgetting_in_one_of_two_modes(command: Command) -> None:
    """Who is connected in live and in test mode is not guessed about."""
    command.seed("1", user_id="user_1")
    command.seed("2", user_id="user_1", livemode=True)
    unclear = command("connections", "forget", "user_1")
    assert (unclear.status, unclear.stdout) == (2, "")
    assert "say --livemode or --testmode" in unclear.stderr
    assert command("connections", "forget", "user_1", "--livemode").status == 0
    assert [(row.livemode, row.state) for row in command.rows()] == [(False, "active"), (True, "revoked")]


def test_disconnecting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends at Stripe and then here."""
    world.connect("user_1", "connect")
    account = world.row("user_1", "connect").account
    # The address of Connect's own server is no setting of the environment.
    monkeypatch.setattr(settings, "OAuthConfig", type("", (), {"from_env": staticmethod(lambda profile: world.config(profile))}))
    done = world.command("connections", "disconnect", "user_1", "--json")
    assert (done.status, done.json["state"], done.json["account"]) == (0, "revoked", account)
    assert world.row("user_1", "connect").access_token is None
    assert world.command("connections", "disconnect", "user_1").status == 0


def test_disconnecting_without_a_key(on_file: Command) -> None:
    """What is missing is named."""
    on_file.seed("1")
    done = on_file("connections", "disconnect", "user_1")
    assert (done.status, done.stdout) == (2, "")
    assert "STRIPE_SECRET_KEY" in done.stderr


# Renewing.


def test_one_sweep(world: World) -> None:
    """Tokens near their end are renewed, others are not."""
    world.connect("user_1", left=60)
    world.connect("user_2")
    done = world.command("connections", "refresh", "--profile", "stripe_app", "--json", **world.environment)
    assert (done.status, done.json) == (0, {"refreshed": 1, "failed": 0, "reauthorization_required": 0})
    assert (world.row("user_1").generation, world.row("user_2").generation) == (2, 1)
    again = world.command("connections", "refresh", "--profile", "stripe_app", **world.environment)
    assert (again.status, again.stdout) == (0, "0 renewed, 0 failed, 0 need their user\n")


def test_a_grant_that_is_dead(world: World) -> None:
    """A user who has to come back is counted, and the command exits with 1."""
    world.connect("user_1", left=60)
    world.sandbox.oauth.uninstall(world.row("user_1").account)
    done = world.command("connections", "refresh", "--profile", "stripe_app", **world.environment)
    assert (done.status, done.stdout) == (1, "0 renewed, 0 failed, 1 need their user\n")
    assert world.row("user_1").state == "reauthorization_required"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_loop_ends_when_its_work_is_stored(world: World, number: int) -> None:
    """A signal during a renewal ends the program with status 0 once all that Stripe gave is stored."""
    for name in ("1", "2", "3"):
        world.connect(f"user_{name}", left=60)
    world.sandbox.faults.next(delay=1.5, operation="POST /v1/oauth/token")
    before = len(world.sandbox.oauth.token_requests)
    process = world.command.start(
        "connections", "refresh", "--every", "1", "--profile", "stripe_app", "--json", **world.environment
    )
    while len(world.sandbox.oauth.token_requests) == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "Stopping when the renewals under way are stored.\n")
    assert set(json.loads(stdout)) == {"refreshed", "failed", "reauthorization_required"}
    rows = [world.row(f"user_{name}") for name in ("1", "2", "3")]
    assert sum(row.generation - 1 for row in rows) == len(world.sandbox.oauth.token_requests) - before > 0
    assert {(row.state, row.lease_owner) for row in rows} == {("active", None)}


def test_the_loop_goes_on(world: World) -> None:
    """Between sweeps the program waits, and the next sweep finds what has come since."""
    process = world.command.start("connections", "refresh", "--every", "1", "--profile", "stripe_app", **world.environment)
    try:
        for name in ("1", "2"):
            world.connect(f"user_{name}", left=60)
            while world.row(f"user_{name}").generation == 1:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
    finally:
        process.terminate()
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.fullmatch(r"([12] renewed, 0 failed, 0 need their user\n){0,2}", stdout)


def test_a_manager_for_work_without_stripe(on_file: Command) -> None:
    """What stands in for a key of Stripe's tells the mode, and is one that Stripe never gave."""
    for livemode in (False, True):
        with settings.local_manager(on_file.store, "connect", livemode=livemode) as manager:
            assert isinstance(manager.config.stripe, StripeConfig)
            assert manager.config.livemode is livemode


def test_a_signal_before_the_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes before the first sweep ends the program before it renews anything, cleanly."""
    world.connect("user_1", left=60)
    made = settings.manager

    def slow(*arguments: Any) -> OAuthManager:
        signal.raise_signal(signal.SIGTERM)
        return made(*arguments)

    monkeypatch.setattr(settings, "manager", slow)
    for options, status in ((("--every", "1"), 0), ((), 1)):
        done = world.command("connections", "refresh", "--profile", "stripe_app", *options, **world.environment)
        assert (done.status, done.stdout, done.stderr) == (status, "", "Stopping when the renewals under way are stored.\n")
    assert world.row("user_1").generation == 1


def test_a_loop_through_an_outage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that finds the database away is told in one line, and the next one does its work."""
    world.connect("user_1", left=60)
    find = world.command.store.find
    asked: list[TokenQuery] = []

    def away_at_first(self: Any, query: TokenQuery) -> Any:
        asked.append(query)
        if len(asked) == 1:
            message = "the store could not find connections"
            raise StoreError(message)
        if len(asked) > 3:
            signal.raise_signal(signal.SIGTERM)
        return find(query)

    monkeypatch.setattr(SqlTokenStore, "find", away_at_first)
    done = world.command("connections", "refresh", "--profile", "stripe_app", "--every", "1", **world.environment)
    assert (done.status, done.stdout) == (0, "1 renewed, 0 failed, 0 need their user\n")
    assert done.stderr.startswith("error: the store could not find connections\n")
