"""``atom-stripe init``: from nothing to a service that can be started."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from atom_stripe.cli import environment
from atom_stripe.cli.app import app
from atom_stripe.contrib.fastapi import create_app
from atom_stripe.endpoints import WebhookEndpoints
from atom_stripe.errors import ConfigurationError
from atom_stripe.stores import sql
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY, LIVE_KEY, MARK, WEBHOOK_SECRET
from tests.cli.conftest import Outcome, checked
from tests.cli.running import clean, run

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://shop.example"
HOOKS = f"{URL}/api/v1/stripe/webhooks"
PUBLISHABLE = "pk_test_0123456789"
CLIENT_ID = "ca_0123456789"
SEVEN = {
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
}


class Place:
    """An empty folder to set up, and the Stripe that is asked."""

    def __init__(self, folder: Path, stripe: StripeSandbox) -> None:
        self.folder = folder
        self.file = folder / ".env"
        self.stripe = stripe
        self.environment = {"STRIPE_SECRET_KEY": API_KEY, "STRIPE_API_BASE": stripe.serve().url}
        self.endpoints = WebhookEndpoints(stripe.client(API_KEY))

    def __call__(self, *arguments: str, input: str = "", **environment: str | None) -> Outcome:
        """Run it in this process, with nothing in the environment but what is said here."""
        gone = {name: None for name in os.environ if name not in clean({})}
        values: dict[str, str | None] = {**gone, **self.environment, **environment}
        result = CliRunner().invoke(app, ["init", *arguments], input=input, env=values)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return checked(Outcome(result.exit_code, result.stdout, result.stderr))

    @property
    def settings(self) -> dict[str, str]:
        return environment.read(self.file)

    def mode(self) -> int:
        return stat.S_IMODE(self.file.stat().st_mode)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="init") as folder, StripeSandbox() as stripe:
        monkeypatch.chdir(folder)
        yield Place(Path(folder), stripe)


def test_everything(place: Place) -> None:
    """One run writes settings that only their owner reads, makes keys, tables and both endpoints, and shows no secret."""
    done = place("--client-id", CLIENT_ID, "--publishable-key", PUBLISHABLE, "--url", URL, "--json")
    assert (done.status, done.json["ok"], done.json["mode"], done.json["account"]) == (0, True, "test", place.stripe.account)
    assert place.mode() == 0o600
    found = place.settings
    assert found["STRIPE_SECRET_KEY"] == API_KEY
    assert (found["STRIPE_CLIENT_ID"], found["STRIPE_PUBLISHABLE_KEY"]) == (CLIENT_ID, PUBLISHABLE)
    assert found["STRIPE_REDIRECT_URI"] == f"{URL}/api/v1/stripe/oauth/callback"
    assert len(found["SECRET_KEY"]) >= 32
    made = {one.connect: one for one in place.endpoints.list()}
    assert {one.url for one in made.values()} == {HOOKS}
    assert set(made[False].enabled_events) == SEVEN
    assert set(made[True].enabled_events) == {"account.application.deauthorized", "account.updated"}
    secrets = [str(place.stripe.webhooks._directory.find(made[connect].id).secret) for connect in (False, True)]
    assert found["STRIPE_WEBHOOK_SECRET"] == ",".join(secrets)
    for name in ("SECRET_KEY", "STRIPE_TOKEN_KEYS", "STRIPE_WEBHOOK_SECRET"):
        assert found[name] not in done.stdout + done.stderr
    assert sql.pending(found["DATABASE_URL"]) == []
    # What was made is all that the service needs.
    assert create_app(found).state.oauth is not None


def test_a_second_run_changes_nothing(place: Place) -> None:
    """Run again, it finds everything there, writes nothing and makes no other endpoint."""
    assert place("--url", URL).status == 0
    before = (place.file.read_bytes(), place.file.stat().st_ino, place.endpoints.list())
    done = place("--url", URL)
    assert done.status == 0
    assert "nothing changed" in done.stdout
    assert (place.file.read_bytes(), place.file.stat().st_ino, place.endpoints.list()) == before


def test_what_is_told(place: Place) -> None:
    """People read what was done and what to do next; without users who connect, there is one endpoint."""
    done = place("--url", f"{URL}/")
    (made,) = place.endpoints.list()
    assert f"{made.id} at {HOOKS}, 7 types of events of your account" in done.stdout
    assert f"Stripe    {place.stripe.account}, in test mode" in done.stdout
    assert "tables    upgraded to" in done.stdout
    assert done.stderr == "Next: atom-stripe serve\n"


def test_what_stands_there_stays(place: Place) -> None:
    """Comments, unknown names and values that are there are kept, in their order, and the file is closed to others."""
    place.file.write_text("# ours\nexport OTHER='a b'\n\nDATABASE_URL=sqlite:///mine.db\n", encoding="utf-8")
    place.file.chmod(0o644)
    assert place().status == 0
    lines = place.file.read_text(encoding="utf-8").splitlines()
    assert lines[:4] == ["# ours", "export OTHER='a b'", "", "DATABASE_URL=sqlite:///mine.db"]
    assert (place.folder / "mine.db").exists()
    assert place.mode() == 0o600


def test_another_value_is_replaced_on_request_only(place: Place) -> None:
    """A value that is there is replaced with --force only, and keys with which something was made are not even then."""
    assert place("--publishable-key", PUBLISHABLE).status == 0
    before = place.file.read_bytes()
    done = place("--publishable-key", "pk_test_another0")
    assert (done.status, place.file.read_bytes()) == (2, before)
    assert "has another STRIPE_PUBLISHABLE_KEY: leave yours out, or say --force" in done.stderr
    assert place("--publishable-key", "pk_test_another0", "--force").status == 0
    assert place.settings["STRIPE_PUBLISHABLE_KEY"] == "pk_test_another0"
    done = place("--force", SECRET_KEY=f"{MARK}{'k' * 32}")
    assert done.status == 2
    assert "has another SECRET_KEY, which is never replaced" in done.stderr


@pytest.mark.parametrize("option", ["--secret-key", "--client-secret", "--webhook-secret"])
def test_secrets_are_no_arguments(place: Place, option: str) -> None:
    """The old options for secrets are refused with what to do instead, and nothing is done."""
    done = place(option, f"sk_test_{MARK}9999")
    assert (done.status, list(place.folder.iterdir())) == (2, [])
    assert f"Set STRIPE_{option[2:].upper().replace('-', '_')} in the environment" in done.stderr
    assert option not in place("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "values", "message"),
    [
        ([], {"STRIPE_SECRET_KEY": ""}, "there is no STRIPE_SECRET_KEY"),
        ([], {"STRIPE_SECRET_KEY": "sk_your_actual_secret_key"}, "STRIPE_SECRET_KEY is the placeholder of a template"),
        ([], {"STRIPE_SECRET_KEY": PUBLISHABLE}, "this is a publishable key"),
        ([], {"STRIPE_SECRET_KEY": LIVE_KEY}, "Stripe does not accept STRIPE_SECRET_KEY"),
        (["--publishable-key", "pk_live_0123456789"], {}, "STRIPE_PUBLISHABLE_KEY and STRIPE_SECRET_KEY are of two modes"),
        ([], {"STRIPE_PUBLISHABLE_KEY": API_KEY}, "STRIPE_PUBLISHABLE_KEY is no publishable key"),
        (["--client-id", CLIENT_ID], {}, "no address that Stripe sends users back to"),
        (["--client-id", "nonsense", "--url", URL], {}, "client_id looks like ca_…"),
        (["--client-id", CLIENT_ID, "--redirect-uri", "shop"], {}, "a redirect URI is an absolute URL"),
        (
            ["--client-id", CLIENT_ID, "--url", URL],
            {"STRIPE_CLIENT_SECRET": LIVE_KEY},
            "STRIPE_CLIENT_SECRET and STRIPE_SECRET_KEY",
        ),
        (
            ["--client-id", CLIENT_ID, "--url", URL],
            {"STRIPE_CLIENT_SECRET": "secret"},
            "STRIPE_CLIENT_SECRET: this is not an API key",
        ),
        ([], {"STRIPE_WEBHOOK_SECRET": API_KEY}, "whsec_"),
        ([], {"SECRET_KEY": "short"}, "SECRET_KEY needs 32 bytes"),
        (["--client-id", CLIENT_ID, "--url", URL], {"STRIPE_TOKEN_KEYS": "nonsense"}, "STRIPE_TOKEN_KEYS: "),
        (["--url", "shop.example"], {}, "--url is the address of the service"),
        (["--database-url", f"postgresql://u:{MARK}@h/d"], {}, "put the URL with the password into DATABASE_URL"),
    ],
)
def test_what_does_not_fit(place: Place, arguments: list[str], values: dict[str, str], message: str) -> None:
    """What is missing, malformed or of another mode is named before anything is written, without its value."""
    done = place(*arguments, **values)
    assert (done.status, done.stdout, place.file.exists()) == (2, "", False)
    assert message in done.stderr


@pytest.mark.parametrize("url", [None, "http://shop.example", "https://localhost:8000", "https://10.0.0.1", "https://shop.local"])
def test_addresses_that_stripe_does_not_reach(place: Place, url: str | None) -> None:
    """Where Stripe reaches nothing no endpoint is made, and that is said."""
    done = place(*([] if url is None else ["--url", url]))
    assert (done.status, place.endpoints.list()) == (0, ())
    assert "No webhook endpoint was made" in done.stderr


def test_a_signing_secret_that_is_there(place: Place) -> None:
    """Who brings a signing secret has an endpoint, and gets no other."""
    assert place("--url", URL, STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET).status == 0
    assert (place.settings["STRIPE_WEBHOOK_SECRET"], place.endpoints.list()) == (WEBHOOK_SECRET, ())


def test_an_endpoint_whose_secret_is_lost(place: Place) -> None:
    """An endpoint that was made before, and whose secret nobody has, is told of with what to do; all else is done."""
    made = place.endpoints.ensure(HOOKS, sorted(SEVEN))
    done = place("--url", URL)
    assert done.status == 1
    assert f"run `atom-stripe endpoints delete {made.endpoint.id}`" in done.stderr
    assert "STRIPE_WEBHOOK_SECRET" not in place.settings
    assert "STRIPE_TOKEN_KEYS" in place.settings


def test_an_endpoint_that_cannot_be_made(place: Place) -> None:
    """When Stripe refuses the endpoint, what was done is kept, and the message has the command that makes it."""
    place.stripe.faults.next(operation="POST /v1/webhook_endpoints", status=403)
    done = place("--url", URL, "--json")
    assert (done.status, done.json["ok"]) == (1, False)
    assert f"atom-stripe endpoints create {HOOKS} --enabled-events payment_intent.succeeded," in done.json["problems"][0]
    assert "STRIPE_TOKEN_KEYS" in place.settings


def test_settings_from_stdin(place: Place) -> None:
    """With --stdin settings are read as they stand in such a file, and nothing is asked."""
    text = f"# from a vault\nSTRIPE_SECRET_KEY='{API_KEY}'\nDATABASE_URL=\"sqlite:///piped.db\"\n"
    assert place("--stdin", input=text, STRIPE_SECRET_KEY=None).status == 0
    assert place.settings["STRIPE_SECRET_KEY"] == API_KEY
    assert (place.folder / "piped.db").exists()
    done = place("--stdin", input=f"{MARK}\n")
    assert (done.status, "stdin, line 1: write NAME=value" in done.stderr) == (2, True)


def test_somebody_at_a_terminal(place: Place) -> None:
    """Whoever sits at a terminal is asked, secrets are typed in unseen, and what is there already is not asked for again."""
    ours, theirs = pty.openpty()
    answers = ["", API_KEY, PUBLISHABLE, "", WEBHOOK_SECRET, ""]
    values = {name: value for name, value in place.environment.items() if name != "STRIPE_SECRET_KEY"}
    process = subprocess.Popen(
        [sys.executable, "-m", "atom_stripe.cli", "init"],
        cwd=place.folder,
        env=clean(values),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = ""
    for question, answer in zip(("Address", "Secret key", "Publishable", "Client id", "Signing", "Database"), answers, strict=True):
        while question not in shown:
            shown += os.read(ours, 4096).decode()
        while not shown.endswith(": "):
            shown += os.read(ours, 4096).decode()
        os.write(ours, f"{answer}\n".encode())
        before, shown = shown, ""
        assert MARK not in before
    while "Next:" not in shown:
        shown += os.read(ours, 4096).decode()
    assert process.wait(60) == 0
    os.close(ours)
    assert MARK not in shown
    assert place.settings["STRIPE_SECRET_KEY"] == API_KEY
    assert place.settings["DATABASE_URL"] == "sqlite:///stripe.db"


def test_without_an_account(place: Place) -> None:
    """With --sandbox the settings are those of a Stripe on this machine, twice the same, and never beside real ones."""
    done = place("--sandbox", "--json", STRIPE_API_BASE=None)
    assert (done.status, done.json["next"][1]) == (0, "atom-stripe serve")
    assert "The environment has another STRIPE_SECRET_KEY, and comes first" in done.json["notes"][0]
    before = place.file.read_bytes()
    assert place.settings["STRIPE_API_BASE"] == "http://127.0.0.1:12111"
    assert place("--sandbox", STRIPE_SECRET_KEY=None, STRIPE_API_BASE=None).status == 0
    assert place.file.read_bytes() == before
    place.file.write_text(f"STRIPE_SECRET_KEY={API_KEY}\n", encoding="utf-8")
    refused = place("--sandbox", STRIPE_SECRET_KEY=None, STRIPE_API_BASE=None)
    assert (refused.status, "has another STRIPE_SECRET_KEY" in refused.stderr) == (2, True)


def test_git_does_not_take_it_along(place: Place) -> None:
    """In a repository that would take the file along, that is said."""
    (place.folder / ".git").mkdir()
    assert ".env holds secrets: add it to .gitignore" in place().stderr
    (place.folder / ".gitignore").write_text("/.env\n", encoding="utf-8")
    assert "gitignore" not in place().stderr


def test_other_commands_read_it(place: Place) -> None:
    """Every command takes the settings that were made, with --env-file before its name."""
    assert place().status == 0
    done = run(place.folder, "--env-file", ".env", "db", "status", "--json")
    assert (done.returncode, json.loads(done.stdout)["pending"]) == (0, [])
    assert run(place.folder, "db", "status").returncode == 2


# Files of settings.


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b c  # and more", "b c"),
        ("export A=b#c", "b#c"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A='b # c' # d", "b # c"),
        ('A="b\\"c\\\\d\\$e"', 'b"c\\d$e'),
        ("A=postgresql://u:p@h/d?x=1&y=2", "postgresql://u:p@h/d?x=1&y=2"),
    ],
)
def test_lines(line: str, value: str) -> None:
    """A line is read as shells and other readers of such files read it."""
    assert environment.parse(line, "here") == {"A": value}


@pytest.mark.parametrize("line", ["A", "1A=b", "A-B=c", "A='b", "A='b'c", 'A="$(b)"', "A=$B", "A=`b`", "A=it's", 'A="b" c', "=b"])
def test_lines_that_readers_differ_on(line: str) -> None:
    """A line that another reader would take otherwise is refused by its number."""
    with pytest.raises(ConfigurationError, match=r"^here, line 2: write NAME=value"):
        environment.parse(f"# first\n{line}", "here")


@pytest.mark.parametrize("value", ["plain", "two words", 'with "quotes"', "a#b $c `d` \\e", "", "ä"])
def test_values_survive(value: str) -> None:
    """What is written is read back, by us and by a shell."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings"
        environment.write(file, {"A": value})
        assert environment.read(file) == {"A": value}
        shell = f'. "{file}"; printf %s "$A"'
        assert subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=True).stdout.decode() == value


@pytest.mark.parametrize("value", ["a\nB=c", "it's", "\x1b[0m"])
def test_values_that_break_lines(value: str) -> None:
    """A value that would become another line is not written, and the file stays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings"
        environment.write(file, {"A": "1"})
        with pytest.raises(ConfigurationError, match=r"^A holds a line break"):
            environment.write(file, {"A": value})
        assert (environment.read(file), [one.name for one in file.parent.iterdir()]) == ({"A": "1"}, ["settings"])


def test_a_folder_that_is_not_there() -> None:
    """A file that cannot be written is said."""
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ConfigurationError, match=r"cannot be written: No such file"):
        environment.write(Path(folder) / "no" / "settings", {"A": "1"})


def test_completion(place: Place) -> None:
    """Shells get a script, and complete the names of commands with it."""
    for shell, word in {"bash": "complete -o", "zsh": "compdef", "fish": "complete --command"}.items():
        done = run(place.folder, _ATOM_STRIPE_COMPLETE=f"source_{shell}")
        assert (done.returncode, word in done.stdout) == (0, True)
    asked = {"_ATOM_STRIPE_COMPLETE": "complete_bash", "COMP_WORDS": "atom-stripe se", "COMP_CWORD": "1"}
    assert run(place.folder, **asked).stdout.split() == ["serve"]
