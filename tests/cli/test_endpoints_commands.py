"""``atom-stripe endpoints``, on a sandbox over HTTP."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe import API_VERSION
from atom_stripe.cli import inbox_options
from atom_stripe.endpoints import WebhookEndpoints
from atom_stripe.protocols import Arrival
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command, Outcome

URL = "https://shop.example/stripe/webhooks"
OLD = "2024-06-20"
FIVE = ["charge.failed", "charge.refunded", "invoice.created", "invoice.paid", "invoice.voided"]


class World:
    """A sandbox over HTTP, and the command with its key."""

    def __init__(self, command: Command) -> None:
        self.sandbox = StripeSandbox()
        server = self.sandbox.serve()
        self.command = command
        self.environment = {"STRIPE_SECRET_KEY": API_KEY, "STRIPE_API_BASE": server.url}
        self.endpoints = WebhookEndpoints(self.sandbox.client(API_KEY))

    def __call__(self, *arguments: str, **options: Any) -> Outcome:
        return self.command("endpoints", *arguments, **{**self.environment, **options})

    def create(self, *arguments: str) -> Any:
        done = self("create", URL, "--enabled-events", "invoice.paid", "--json", *arguments)
        assert done.status == 0, done.stderr
        return done.json

    def secret(self, endpoint: str) -> str:
        """Return the secret that the sandbox signs with."""
        return str(self.sandbox.webhooks._directory.find(endpoint).secret)


@pytest.fixture
def world(on_file: Command) -> Iterator[World]:
    made = World(on_file)
    yield made
    made.sandbox.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits at a terminal."""

    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    class System:
        stdin = Terminal

    monkeypatch.setattr(inbox_options, "sys", System)


def words(line: str) -> list[str]:
    return re.split(r"  +", line)


def test_a_new_endpoint_shows_its_secret_once(world: World) -> None:
    """The secret of a new endpoint is on stdout with what it belongs to, and what to do with it on stderr; the next call shows none."""
    done = world("create", URL, "--enabled-events", "invoice.paid,customer.updated", "--description", "shop")
    (made,) = world.endpoints.list()
    assert done.status == 0
    shown = dict(words(line) for line in done.stdout.splitlines())
    assert shown == {
        "id": made.id,
        "status": "enabled",
        "mode": "test",
        "events of": "your account",
        "api version": API_VERSION,
        "url": URL,
        "enabled events": "customer.updated, invoice.paid",
        "description": "shop",
        "secret": world.secret(made.id),
    }
    assert "into STRIPE_WEBHOOK_SECRET now" in done.stderr
    assert shown["secret"] not in done.stderr
    again = world("create", URL, "--enabled-events", "customer.updated", "--enabled-events", "invoice.paid")
    assert again.status == 0
    assert "secret" not in again.stdout
    assert "It was there; changed: nothing." in again.stderr
    changed = world("create", URL, "--enabled-events", "*")
    assert "It was there; changed: enabled_events." in changed.stderr
    assert len(world.endpoints.list()) == 1


def test_a_new_endpoint_as_json(world: World) -> None:
    """The document holds the endpoint in Stripe's words, and its secret beside it, only when it is new."""
    first = world.create("--connect", "--api-version", OLD)
    endpoint = first["endpoint"]
    assert (first["created"], first["changed"], first["secret"]) == (True, [], world.secret(endpoint["id"]))
    assert (endpoint["url"], endpoint["enabled_events"], endpoint["connect"], endpoint["api_version"]) == (
        URL,
        ["invoice.paid"],
        True,
        OLD,
    )
    again = world.create("--connect", "--api-version", OLD)
    assert (again["endpoint"], again["created"], again["secret"]) == (endpoint, False, None)


def test_a_secret_that_was_not_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should Stripe create an endpoint and not show its secret, the command does not end as if all were well with it."""
    ensure = WebhookEndpoints.ensure
    monkeypatch.setattr(WebhookEndpoints, "ensure", lambda *args, **options: replace(ensure(*args, **options), secret=None))
    done = world("create", URL, "--enabled-events", "*")
    assert done.status == 1
    assert "Delete the endpoint and create it again" in done.stderr
    assert "secret " not in done.stdout


def test_the_version_of_the_account(world: World) -> None:
    """``--api-version account`` leaves the choice to the account."""
    assert world.create("--api-version", "account")["endpoint"]["api_version"] is None


def test_an_endpoint_that_was_made_elsewhere(world: World) -> None:
    """It is not taken over by chance, and the error says how it is; then it is kept, with the secret it had."""
    stranger = world.sandbox.client(API_KEY).webhook_endpoints.create(url=URL, enabled_events=["*"], api_version=API_VERSION)
    refused = world("create", URL, "--enabled-events", "*")
    assert refused.status == 2
    assert "adopt=" in refused.stderr
    done = world("create", URL, "--enabled-events", "*", "--adopt", stranger.id)
    assert done.status == 0
    assert [(one.id, one.connect) for one in world.endpoints.list()] == [(stranger.id, False)]


def test_a_list(world: World) -> None:
    """Each endpoint is a line, the newest first, with a few of its types; JSON has them all, and no secret."""
    empty = world("list")
    assert (empty.status, empty.stdout.split()[0]) == (0, "ID")
    assert "atom-stripe endpoints create" in empty.stderr
    first = world.endpoints.ensure(URL, FIVE, connect=True, api_version=None)
    second = world.endpoints.ensure(URL, ["*"])
    done = world("list")
    assert (done.status, done.stderr) == (0, "")
    assert [words(line) for line in done.stdout.splitlines()] == [
        ["ID", "STATUS", "MODE", "EVENTS OF", "API VERSION", "URL", "ENABLED EVENTS"],
        [second.endpoint.id, "enabled", "test", "your account", API_VERSION, URL, "*"],
        [
            first.endpoint.id,
            "enabled",
            "test",
            "connected accounts",
            "account's",
            URL,
            "charge.failed, charge.refunded, invoice.created, and 2 more",
        ],
    ]
    listed = world("list", "--json")
    assert [one["enabled_events"] for one in listed.json] == [["*"], FIVE]
    for made in (first, second):
        assert made.secret is not None
        assert made.secret.get_secret_value() not in done.stdout + listed.stdout


def test_an_update(world: World) -> None:
    """Types, URL and description are changed, and what there then is is shown; nothing to change is wrong usage."""
    id_ = world.create()["endpoint"]["id"]
    done = world(
        "update", id_, "--enabled-events", "invoice.paid,charge.refunded", "--url", f"{URL}/2", "--description", "new", "--json"
    )
    assert done.status == 0
    assert (done.json["url"], done.json["enabled_events"], done.json["description"]) == (
        f"{URL}/2",
        ["charge.refunded", "invoice.paid"],
        "new",
    )
    shown = world("update", id_, "--description", "newer")
    assert "newer" in shown.stdout
    nothing = world("update", id_)
    assert (nothing.status, nothing.stdout) == (2, "")
    assert "say what to change" in nothing.stderr


def test_off_and_on_again(world: World) -> None:
    """An endpoint is disabled and enabled, and who enables it is told how to get what it missed."""
    id_ = world.create()["endpoint"]["id"]
    off = world("disable", id_, "--json")
    assert (off.status, off.json["enabled"]) == (0, False)
    on = world("enable", id_)
    assert on.status == 0
    assert "enabled" in on.stdout
    assert "atom-stripe inbox reconcile" in on.stderr
    assert [one.enabled for one in world.endpoints.list()] == [True]


def test_a_deletion(world: World) -> None:
    """An endpoint is deleted; one that is not there is told of, for its id is most likely misspelled."""
    id_ = world.create()["endpoint"]["id"]
    done = world("delete", id_, "--json")
    assert (done.status, done.json) == (0, {"id": id_, "deleted": True})
    assert world.endpoints.list() == ()
    for command in ("delete", "disable"):
        again = world(command, id_)
        assert (again.status, again.stdout) == (1, "")
        assert f"There is no webhook endpoint {id_}" in again.stderr


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("command", ["disable", "delete"])
def test_asking_first(world: World, command: str) -> None:
    """At a terminal the question says what it is about and in which mode; no answer changes nothing, and --yes asks nothing."""
    id_ = world.create()["endpoint"]["id"]
    refused = world(command, id_, input="n\n")
    assert refused.status == 1
    assert f"{command.title()} {id_}, {URL}, in test mode?" in refused.stderr
    assert [one.enabled for one in world.endpoints.list()] == [True]
    assert world(command, id_, "--yes").status == 0
    assert [one.enabled for one in world.endpoints.list()] == ([False] if command == "disable" else [])


@pytest.mark.parametrize("delete", [False, True])
def test_a_roll_over(world: World, delete: bool) -> None:
    """The second endpoint has the new version and a secret of its own; the old one goes once an event of the new one is in the inbox, not before."""
    old = world.create("--api-version", OLD)["endpoint"]["id"]
    begun = world("roll", old, "--json")
    new = begun.json["endpoint"]["id"]
    assert (begun.status, begun.json["endpoint"]["api_version"], begun.json["secret"]) == (0, API_VERSION, world.secret(new))
    assert f"atom-stripe endpoints roll {new} --finish" in begun.stderr
    again = world("roll", old)
    assert (again.status, "secret" in again.stdout) == (0, False)
    arguments = ["roll", new, "--finish", *(["--delete"] if delete else [])]
    early = world(*arguments)
    assert early.status == 1
    assert f"{old} was left as it is: no event in the API version {API_VERSION} has come in" in early.stderr
    assert {one.id for one in world.endpoints.list() if one.enabled} == {old, new}
    with SqlInboxStore.from_url(world.command.environment["DATABASE_URL"]) as store:
        store.append(
            [
                Arrival(
                    event_id="evt_1",
                    type="invoice.paid",
                    account="",
                    livemode=False,
                    lane="lane",
                    payload=b"{}",
                    endpoint="default",
                    received_at=world.endpoints.list()[0].created + 60.0,
                    api_version=API_VERSION,
                )
            ]
        )
    done = world(*arguments, "--json")
    assert (done.status, done.json["finished"], done.json["old"]["id"], done.json["new"]["id"]) == (0, True, old, new)
    assert "Take the secret of the old one out of STRIPE_WEBHOOK_SECRET" in done.stderr
    assert {one.id: one.enabled for one in world.endpoints.list()} == ({new: True} if delete else {new: True, old: False})


@pytest.mark.usefixtures("terminal")
def test_a_roll_over_by_force(world: World) -> None:
    """``--force`` looks into no inbox, so it needs none; it asks first, and names the endpoint that is turned off."""
    old = world.create("--api-version", OLD)["endpoint"]["id"]
    new = world("roll", old, "--json").json["endpoint"]["id"]
    refused = world("roll", new, "--finish", "--force", input="n\n", DATABASE_URL=None)
    assert f"Disable {old}, which {new} replaces, {URL}, in test mode?" in refused.stderr
    assert {one.id for one in world.endpoints.list() if one.enabled} == {old, new}
    done = world("roll", new, "--finish", "--force", "--yes", DATABASE_URL=None)
    assert (done.status, done.stdout) == (0, f"{new} has taken the place of {old}\n")
    assert {one.id: one.enabled for one in world.endpoints.list()} == {new: True, old: False}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["create", URL], 2, "events are the types to deliver"),
        (["create", URL, "--enabled-events", "customer.*"], 2, "Stripe knows no other patterns"),
        (["create", "shop.example", "--enabled-events", "*"], 2, "url is a complete address"),
        (["create", URL, "--enabled-events", "*", "--api-version", "newest"], 2, "api_version is a version"),
        (["update", "evt_1", "--url", URL], 2, "an endpoint is named by its id (we_…)"),
        (["enable", "we_none"], 1, "No such webhook_endpoint"),
        (["roll", "we_none"], 2, "there is no webhook endpoint we_none"),
    ],
)
def test_what_is_wrong(world: World, arguments: list[str], status: int, told: str) -> None:
    """An argument that is wrong, or an endpoint that is not there, is told in one line, also with --json."""
    done = world(*arguments)
    assert (done.status, done.stdout) == (status, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert told in world(*arguments, "--json").json["message"]


def test_without_a_key(on_file: Command) -> None:
    """Without a key, the command says which variable takes it."""
    done = on_file("endpoints", "list", STRIPE_SECRET_KEY=None)
    assert (done.status, done.stdout) == (2, "")
    assert "set STRIPE_SECRET_KEY" in done.stderr
