"""``atom-stripe inbox`` and ``atom-stripe worker``."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe import API_VERSION
from atom_stripe._engine.inbox.operating import InboxOperations
from atom_stripe.cli import inbox_options
from atom_stripe.protocols import Arrival, HandlerState, InboxQuery, InboxRecord, Step
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY, MARK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command, Outcome

NOW = 1_700_000_000.0
DONE = HandlerState(status="done", attempts=1, finished_at=NOW)
PARKED = HandlerState(status="parked", attempts=10, error="ValueError: no such plan", finished_at=NOW)


@dataclass
class Inbox:
    """The command, and the inbox that it works on."""

    command: Command
    store: SqlInboxStore

    def __call__(self, *arguments: str, **options: Any) -> Outcome:
        return self.command("inbox", *arguments, **options)

    def arrive(self, number: int = 1, **changes: Any) -> int:
        body = {
            "id": f"evt_{number}",
            "object": "event",
            "api_version": API_VERSION,
            "created": 1_700_000_000,
            "data": {"object": {"id": "cus_1", "object": "customer", "name": f"Ana {MARK}"}},
            "livemode": False,
            "type": "customer.updated",
        }
        values: dict[str, Any] = {
            "event_id": f"evt_{number}",
            "type": "customer.updated",
            "account": "",
            "livemode": False,
            "lane": f"test//cus_{number}",
            "payload": json.dumps(body).encode(),
            "endpoint": "main",
            "received_at": NOW + number,
            "object_id": "cus_1",
        }
        (appended,) = self.store.append([Arrival(**{**values, **changes})])
        return int(appended.id)

    def finish(self, number: int = 1, *, status: Any = "done", handlers: Any = None, **changes: Any) -> int:
        """Store an event, and leave it as a worker would."""
        id_ = self.arrive(number, **changes)
        assert isinstance(self.store.claim(f"test//cus_{number}", "run", 60.0), InboxRecord)
        states = ({"shop.a": PARKED} if status == "parked" else {"shop.a": DONE}) if handlers is None else handlers
        self.store.advance(Step(id=id_, run="run", handlers=states, status=status))
        return id_

    def statuses(self) -> list[str]:
        return [record.status for record in self.store.find(InboxQuery(limit=10_000))]


@pytest.fixture
def inbox(command: Command) -> Iterator[Inbox]:
    with SqlInboxStore.from_url(command.environment["DATABASE_URL"]) as store:
        yield Inbox(command, store)


@pytest.fixture
def on_file_inbox(on_file: Command) -> Iterator[Inbox]:
    with SqlInboxStore.from_url(on_file.environment["DATABASE_URL"]) as store:
        yield Inbox(on_file, store)


# Looking.


def test_a_list(inbox: Inbox) -> None:
    """Each event is a line, in the order of arrival, with the handlers that there is something to say about, and nothing of the payload."""
    first = inbox.finish(1)
    second = inbox.finish(2, status="parked", account="acct_1", livemode=True)
    done = inbox("list")
    assert (done.status, done.stderr) == (0, "")
    assert [re.split(r"  +", line) for line in done.stdout.splitlines()] == [
        ["ID", "EVENT", "TYPE", "ACCOUNT", "MODE", "STATUS", "RECEIVED", "HANDLERS"],
        [str(first), "evt_1", "customer.updated", "-", "test", "done", "2023-11-14 22:13:21Z", "-"],
        [str(second), "evt_2", "customer.updated", "acct_1", "live", "parked", "2023-11-14 22:13:22Z", "shop.a parked"],
    ]


def test_a_list_as_json(inbox: Inbox) -> None:
    """The document holds the states of the handlers, and no payload."""
    number = inbox.finish(status="parked")
    (found,) = inbox("list", "--json").json
    assert found["id"] == number
    assert found["handlers"]["shop.a"] == {
        "status": "parked",
        "attempts": 10,
        "due_at": None,
        "error": "ValueError: no such plan",
        "finished_at": NOW,
    }
    assert not {"payload", "run"} & found.keys()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--status", "parked"], [2]),
        (["--type", "invoice.paid"], [3]),
        (["--type", "invoice.paid", "--type", "customer.updated"], [1, 2, 3]),
        (["--account", "acct_1"], [3]),
        (["--testmode"], [1, 2]),
        (["--livemode"], [3]),
        (["--object", "in_1"], [3]),
        (["--lane", "test//cus_2"], [2]),
        (["--handler", "shop.b"], [3]),
        (["--since", "2023-11-14T22:13:22"], [2, 3]),
        (["--since", "2023-11-14T23:13:22+01:00", "--until", "2023-11-14 22:13:23"], [2]),
        (["--since", "1h"], []),
        (["--after", "1", "--limit", "1"], [2]),
    ],
)
def test_filters(on_file_inbox: Inbox, options: list[str], expected: list[int]) -> None:
    """Every option narrows the list down, and several do so together; times are in UTC unless they say otherwise."""
    on_file_inbox.finish(1)
    on_file_inbox.finish(2, status="parked")
    on_file_inbox.finish(3, type="invoice.paid", account="acct_1", livemode=True, object_id="in_1", handlers={"shop.b": DONE})
    assert [row["id"] for row in on_file_inbox("list", "--json", *options).json] == expected


def test_a_list_that_goes_on(on_file_inbox: Inbox) -> None:
    """A list that was cut off says how to go on; the last page does not."""
    for number in (1, 2, 3):
        on_file_inbox.arrive(number)
    assert on_file_inbox("list", "--limit", "2").stderr == "There are more: --after 2\n"
    assert on_file_inbox("list", "--limit", "2", "--after", "2").stderr == ""


@pytest.mark.parametrize("time", ["yesterday", "1y", "99999999h", "999999w", "2026-13-01", ""])
def test_what_is_no_time(on_file_inbox: Inbox, time: str) -> None:
    """A time that is none is wrong usage, and the message shows some that are."""
    done = on_file_inbox("list", "--since", time)
    assert (done.status, done.stdout) == (2, "")
    assert "36h or 7d" in done.stderr


def test_how_long_ago() -> None:
    """A number with a unit is counted back from now."""
    now = datetime.now(UTC).timestamp()
    ago = {unit: now - inbox_options._moment(f"2{unit}") for unit in "smhdw"}
    assert {unit: round(seconds, -1) for unit, seconds in ago.items() if unit != "s"} == {
        "m": 120,
        "h": 7200,
        "d": 172_800,
        "w": 1_209_600,
    }
    assert 0 < ago["s"] < 20


def test_one_event(inbox: Inbox) -> None:
    """An event is shown with its handlers and what went wrong, by Stripe's id or the number of its row, without the payload."""
    number = inbox.finish(status="parked")
    done = inbox("show", "evt_1")
    assert done.status == 0
    assert "ValueError: no such plan" in done.stdout
    assert re.search(r"^mode +test$", done.stdout, re.MULTILINE)
    assert inbox("show", str(number)).stdout == done.stdout
    assert inbox("show", "evt_1", "--json").json[0]["handlers"]["shop.a"]["attempts"] == 10


def test_a_payload(on_file_inbox: Inbox) -> None:
    """What Stripe sent is shown when that is asked for, and cannot move the cursor, whatever bytes it is."""
    on_file_inbox.arrive(1, payload=b'{"name": "Ana"}')
    on_file_inbox.arrive(2, payload=b"\xff\x1b[2J\n\x00")
    assert "Ana" not in on_file_inbox("show", "evt_1").stdout
    assert '{"name": "Ana"}' in on_file_inbox("show", "evt_1", "--payload").stdout
    assert on_file_inbox("show", "evt_1", "--payload", "--json").json[0]["payload"] == '{"name": "Ana"}'
    done = on_file_inbox("show", "evt_2", "--payload")
    assert not set("\x00\x1b") & set(done.stdout)
    assert "\\xff" in done.stdout


def test_a_payload_that_was_purged(on_file_inbox: Inbox) -> None:
    """It says so."""
    on_file_inbox.finish()
    assert on_file_inbox("purge", "--older-than", "0").stdout == "1 payload purged\n"
    assert "The payload was purged." in on_file_inbox("show", "evt_1", "--payload").stdout
    assert on_file_inbox("show", "evt_1", "--payload", "--json").json[0]["payload"] is None


def test_an_event_in_two_accounts(on_file_inbox: Inbox) -> None:
    """Events with one id in several accounts are all shown."""
    on_file_inbox.arrive(1)
    on_file_inbox.arrive(1, account="acct_1")
    assert [one["account"] for one in on_file_inbox("show", "evt_1", "--json").json] == ["", "acct_1"]
    assert on_file_inbox("show", "evt_1").stdout.count("event_id") == 2


def test_an_event_that_is_not_there(on_file_inbox: Inbox) -> None:
    """Showing it ends with 1, and stdout still holds a document."""
    done = on_file_inbox("show", "evt_1", "--json")
    assert (done.status, done.json, done.stderr) == (1, [], "There is no such event.\n")
    assert on_file_inbox("show", "99").status == 1


def test_the_status(inbox: Inbox) -> None:
    """It counts what there is to do and what is paused; parked events and an old pending one end it with 1."""
    assert inbox("status").status == 0
    inbox.arrive(1, received_at=time.time() - 60)
    done = inbox("status", "--json", "--max-age", "3600")
    assert done.status == 0
    assert 60 <= done.json.pop("oldest_pending_age") < 160
    assert inbox("status", "--max-age", "30").status == 1
    inbox.finish(2, status="parked")
    inbox("pause", "shop.a")
    done = inbox("status", "--json")
    assert (done.status, done.json["pending"], done.json["parked"], done.json["paused"]) == (1, 1, 1, ["shop.a"])
    assert "atom-stripe inbox list --status parked" in done.stderr
    assert re.search(r"^paused +shop\.a$", inbox("status").stdout, re.MULTILINE)


# Changing.


def test_a_replay(inbox: Inbox) -> None:
    """The events that are named, by id or number, are pending again; what cannot be replayed is told, and ends with 1."""
    number = inbox.finish(1)
    inbox.finish(2)
    waiting = inbox.arrive(3)
    assert inbox("replay", "evt_1", "evt_1", str(number)).stdout == "1 event replayed\n"
    assert inbox.statuses() == ["pending", "done", "pending"]
    done = inbox("replay", "--all", "--json")
    assert (done.status, done.json) == (1, {"replayed": 1, "left": {"waiting": [number, waiting]}})
    assert done.stderr == f"left: 2 events yet to be handled anyway ({number}, {waiting})\n"


def test_a_running_event(on_file_inbox: Inbox) -> None:
    """What a worker is at is left, and the advice is to try again."""
    on_file_inbox.arrive()
    on_file_inbox.store.claim("test//cus_1", "run", 60.0)
    done = on_file_inbox("replay", "evt_1")
    assert (done.status, done.stdout) == (1, "0 events replayed\n")
    assert done.stderr == "left: 1 event being handled right now; run this again for it (1)\n"


def test_a_replay_of_many(inbox: Inbox) -> None:
    """A filter says which, and every batch is in the audit log with who did it and why."""
    for number in range(1, 8):
        inbox.finish(number, type="invoice.paid" if number % 2 else "customer.updated")
    options = ["--type", "invoice.paid", "--since", "2023-11-14", "--batch", "3", "--actor", "ana", "--reason", "ticket 7"]
    assert inbox("replay", *options, "--dry-run").stdout == "4 events would be replayed\n"
    assert inbox.statuses() == ["done"] * 7
    assert inbox("replay", *options, "--json", "--rate", "1000").json == {"replayed": 4, "left": {}}
    assert inbox.statuses() == ["pending", "done"] * 3 + ["pending"]
    audit = inbox("audit", "--json").json
    assert [(one["actor"], one["action"], one["subject"]) for one in audit] == [
        ("ana", "replay", "3 events"),
        ("ana", "replay", "1 event"),
    ]
    assert audit[0]["detail"] == "events 1, 3, 5; all handlers; reason: ticket 7"


def test_a_replay_of_one_handler(on_file_inbox: Inbox) -> None:
    """A name that no event knows is most likely misspelled, and is taken only with --new."""
    on_file_inbox.finish(handlers={"shop.a": DONE, "shop.b": DONE})
    done = on_file_inbox("replay", "--all", "--handler", "shop.typo")
    assert (done.status, done.stdout) == (2, "")
    assert "no stored event has been handled by 'shop.typo'" in done.stderr
    assert on_file_inbox("replay", "--all", "--handler", "shop.b").status == 0
    (record,) = on_file_inbox.store.find(InboxQuery())
    assert (record.handlers.get("shop.a"), record.handlers.get("shop.b")) == (DONE, None)
    assert on_file_inbox("replay", "--all", "--handler", "shop.c", "--new").status == 1


@pytest.mark.parametrize("action", ["replay", "requeue", "discard"])
def test_nothing_is_changed_by_mistake(on_file_inbox: Inbox, action: str) -> None:
    """Without a word on which events are meant nothing is touched, nor when two ways to say it contradict each other."""
    on_file_inbox.finish(status="parked")
    done = on_file_inbox(action)
    assert (done.status, done.stdout) == (2, "")
    assert "say which events" in done.stderr
    assert "not both" in on_file_inbox(action, "evt_1", "--type", "invoice.paid").stderr
    assert "not both" in on_file_inbox(action, "evt_1", "--all").stderr
    assert "there is no event evt_9" in on_file_inbox(action, "evt_1", "evt_9").stderr
    assert on_file_inbox.statuses() == ["parked"]


def test_a_requeue(inbox: Inbox) -> None:
    """Parked events are tried again: all, those of one handler, or those that are named."""
    inbox.finish(1, status="parked")
    inbox.finish(2, status="parked", handlers={"shop.b": PARKED})
    inbox.finish(3, status="parked")
    inbox.finish(4)
    assert inbox("requeue", "--handler", "shop.b").stdout == "1 event requeued\n"
    assert inbox.statuses() == ["parked", "pending", "parked", "done"]
    assert inbox("requeue", "evt_3").stdout == "1 event requeued\n"
    assert inbox("requeue", "--all").stdout == "1 event requeued\n"
    assert inbox("requeue", "--all").stdout == "0 events requeued\n"
    assert inbox("requeue", "evt_4").status == 1


def test_a_discard(inbox: Inbox) -> None:
    """Parked events are done with, and no longer parked."""
    inbox.finish(1, status="parked")
    inbox.finish(2)
    assert inbox("discard", "--all", "--dry-run", "--json").json == {"found": 1, "dry_run": True}
    assert inbox("discard", "--all", "--json").json == {"discarded": 1, "left": {}}
    assert inbox.statuses() == ["discarded", "done"]


def test_what_waits(on_file_inbox: Inbox) -> None:
    """--delayed means handlers that wait for another attempt too."""
    state = HandlerState(attempts=2, due_at=NOW + 10**9, error="ValueError: no")
    on_file_inbox.arrive()
    on_file_inbox.store.claim("test//cus_1", "run", 60.0)
    on_file_inbox.store.advance(Step(id=1, run="run", handlers={"shop.a": state}, status="pending", due_at=NOW + 10**9))
    assert on_file_inbox("requeue", "--all").stdout == "0 events requeued\n"
    assert on_file_inbox("requeue", "--all", "--delayed").stdout == "1 event requeued\n"
    assert on_file_inbox.store.waiting(0, 1)[0].due_at is None
    assert on_file_inbox("discard", "--all", "--delayed").stdout == "1 event discarded\n"


def test_asking_first(on_file_inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal it asks and tells how many events are meant; a no changes nothing; --yes does not ask."""
    on_file_inbox.finish(status="parked")
    asked: list[str] = []

    def confirm(question: str, **options: Any) -> None:
        asked.append(question)
        raise inbox_options.typer.Abort

    monkeypatch.setattr(inbox_options.typer, "confirm", confirm)
    monkeypatch.setattr(inbox_options.sys, "stdin", type("Terminal", (), {"isatty": lambda _self: True})())
    with pytest.raises(inbox_options.typer.Abort):
        inbox_options.ask("Sure?", yes=False)
    inbox_options.ask("Sure?", yes=True)
    assert asked == ["Sure?"]


def test_a_pause(inbox: Inbox) -> None:
    """A pause and its end are in the audit log; a name that no event knows is refused; ending what is no pause ends with 1."""
    inbox.finish()
    assert "check the name" in inbox("pause", "shop.typo").stderr
    assert inbox("pause", "shop.a", "--actor", "ana", "--reason", "bug").stdout == "shop.a is paused\n"
    assert inbox("pause", "shop.new", "--new", "--json").json == {"handler": "shop.new", "paused": True}
    assert inbox("status", "--json").json["paused"] == ["shop.a", "shop.new"]
    assert inbox("resume", "shop.a").stdout == "shop.a goes on; 0 events waited aside for it\n"
    done = inbox("resume", "shop.a", "--json")
    assert (done.status, done.json["was_paused"]) == (1, False)
    (first, *_) = inbox("audit", "--json").json
    assert (first["actor"], first["action"], first["subject"], first["detail"]) == ("ana", "pause", "handler shop.a", "reason: bug")


def test_the_audit_log(on_file_inbox: Inbox) -> None:
    """It is shown from the first entry on, page by page."""
    for name in ("a", "b", "c"):
        on_file_inbox("pause", name, "--new", "--actor", "ana")
    done = on_file_inbox("audit", "--limit", "2")
    assert [line.split()[3:5] for line in done.stdout.splitlines()[1:]] == [["ana", "pause"]] * 2
    assert done.stderr == "There are more: --after 2\n"
    assert [one["subject"] for one in on_file_inbox("audit", "--after", "2", "--json").json] == ["handler c"]


def test_a_purge(inbox: Inbox) -> None:
    """Payloads of what was finished long enough ago go; the default is ninety days."""
    inbox.finish(1)
    inbox.finish(2, status="parked")
    assert inbox("purge").stdout == "0 payloads purged\n"
    assert inbox("purge", "--older-than", "0", "--batch", "1", "--json").json == {"purged": 1}
    assert inbox("purge", "--older-than", "-1").status == 2
    assert inbox("purge", "--older-than", "1e300").status == 2


def test_a_customers_name_is_not_shown(on_file_inbox: Inbox) -> None:
    """What is in a payload is in no output but that of --payload."""
    on_file_inbox.finish(status="parked")
    shown = "".join(
        on_file_inbox(*arguments).stdout
        for arguments in (
            ["list"],
            ["list", "--json"],
            ["show", "evt_1"],
            ["show", "evt_1", "--json"],
            ["replay", "--all"],
            ["audit"],
        )
    )
    assert "Ana" not in shown


# The worker.

PROGRAM = """
import os, time
from atom_stripe.inbox import {kind}, InboxConfig
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.webhooks import WebhookVerifier

store = SqlInboxStore.from_url(os.environ["DATABASE_URL"])
inbox = {kind}(WebhookVerifier("whsec_0123456789abcdef4242"), store, config=InboxConfig(workers=2, poll_interval=0.05))

class Shop:
    inbox = inbox

@inbox.on("*", name="shop.a")
{colour}def handle(event, context):
    {pause}

nothing = None
"""
KINDS = {
    "sync": {"kind": "WebhookInbox", "colour": "", "pause": "time.sleep(0.5)"},
    "async": {"kind": "AsyncWebhookInbox", "colour": "async ", "pause": "import anyio; await anyio.sleep(0.5)"},
}


def write_program(folder: Path, kind: str = "sync") -> None:
    folder.joinpath("shop.py").write_text(PROGRAM.format(**KINDS[kind]), encoding="utf-8")


@pytest.mark.parametrize(("kind", "number"), [("sync", signal.SIGTERM), ("async", signal.SIGINT), ("trio", signal.SIGTERM)])
def test_a_worker(inbox: Inbox, tmp_path: Path, kind: str, number: int) -> None:
    """A worker runs the handlers of the program in this folder; at a signal it ends what it is at, tells what it did, and exits with 0."""
    write_program(tmp_path, "sync" if kind == "sync" else "async")
    for each in range(1, 4):
        inbox.arrive(each)
    options = ["--loop", "trio"] if kind == "trio" else []
    process = inbox.command.start("worker", "shop:Shop.inbox", "--json", *options, PYTHONPATH=str(tmp_path))
    until = time.monotonic() + 60
    while not any(record.run for record in inbox.store.find(InboxQuery())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "1 handler, 2 threads: handling events until SIGTERM or Ctrl-C" in stderr
    done = inbox.statuses().count("done")
    # Nothing was cut off, and what it did not get to is there for the next one.
    assert json.loads(stdout) == ({"handled": done} if done else {})
    assert done >= 1
    assert all(record.run is None for record in inbox.store.find(InboxQuery()))


def test_a_signal_before_the_beginning(on_file: Command, tmp_path: Path) -> None:
    """A signal that comes while the program is imported ends the worker too."""
    tmp_path.joinpath("slow.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nfrom shop import inbox\n", encoding="utf-8"
    )
    write_program(tmp_path)
    done = on_file.program("worker", "slow:inbox", PYTHONPATH=str(tmp_path))
    assert (done.status, done.stdout) == (0, "stopped: there was nothing to do\n")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop", "does not say where the inbox is"),
        ("shop:", "does not say where the inbox is"),
        ("shop:in box", "does not say where the inbox is"),
        ("missing:inbox", "there is no module missing"),
        ("missing.part:inbox", "there is no module missing"),
        ("shop:typo", "there is no typo in shop"),
        ("shop:Shop.typo", "there is no Shop.typo in shop"),
        ("shop:nothing", "is no WebhookInbox or AsyncWebhookInbox, but of the type NoneType"),
        ("shop:Shop", "is no WebhookInbox or AsyncWebhookInbox, but of the type type"),
        ("broken:inbox", "importing broken failed with a ValueError"),
        ("needy:inbox", "importing needy failed with a ModuleNotFoundError"),
        ("wrong:inbox", "there is no database"),
    ],
)
def test_what_is_no_inbox(on_file: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str) -> None:
    """What cannot be a worker is refused with status 2 in one line, which repeats nothing that the program said."""
    write_program(tmp_path)
    tmp_path.joinpath("broken.py").write_text(f'raise ValueError("{MARK[:6]}" + "{MARK[6:]}")\n', encoding="utf-8")
    tmp_path.joinpath("needy.py").write_text("import not_installed_anywhere\n", encoding="utf-8")
    tmp_path.joinpath("wrong.py").write_text(
        "from atom_stripe.errors import ConfigurationError\nraise ConfigurationError('there is no database')\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("shop", "broken", "needy", "wrong"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("DATABASE_URL", on_file.environment["DATABASE_URL"])
    done = on_file("worker", target)
    assert (done.status, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# Reconciliation.

SELLER = """
import os
from atom_stripe import {client}, StripeConfig
from atom_stripe.inbox import {kind}
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.webhooks import WebhookVerifier

store = SqlInboxStore.from_url(os.environ["DATABASE_URL"])
inbox = {kind}(WebhookVerifier("whsec_0123456789abcdef4242"), store, client={client}(config=StripeConfig.from_env()))
"""


@pytest.mark.parametrize(("kind", "client"), [("WebhookInbox", "StripeClient"), ("AsyncWebhookInbox", "AsyncStripeClient")])
def test_a_reconciliation(on_file_inbox: Inbox, tmp_path: Path, kind: str, client: str) -> None:
    """What Stripe has and the inbox has not is told, and then stored, by the client of the program's inbox, in either colour."""
    inbox = on_file_inbox
    tmp_path.joinpath("seller.py").write_text(SELLER.format(kind=kind, client=client), encoding="utf-8")
    with StripeSandbox() as sandbox, sandbox.serve() as server:
        sandbox.webhooks.emit("customer.updated", {"id": "cus_1", "object": "customer"})
        key = {"STRIPE_SECRET_KEY": API_KEY, "STRIPE_API_BASE": server.url, "PYTHONPATH": str(tmp_path)}
        done = inbox.command.program("inbox", "reconcile", "seller:inbox", "--dry-run", **key)
        assert done.status == 1, done.stderr
        assert "1 listed, 1 missing, 0 stored" in done.stdout
        assert "this was a dry run" in done.stderr
        assert inbox.statuses() == []
        done = inbox.command.program("inbox", "reconcile", "seller:inbox", "--json", "--actor", "ana", **key)
        assert (done.status, done.json["missing"], done.json["stored"], done.json["complete"]) == (0, 1, 1, True)
        assert inbox.statuses() == ["pending"]
        done = inbox.command.program("inbox", "reconcile", "seller:inbox", "--type", "customer.updated", "--since", "28d", **key)
        assert (done.status, done.stderr) == (0, "")
        assert "1 listed, 0 missing, 0 stored" in done.stdout
    assert [one["actor"] for one in inbox("audit", "--json").json] == ["ana"]


def test_the_help_of_the_worker(on_file: Command) -> None:
    """It explains itself, and has --json."""
    done = on_file("worker", "--help")
    assert done.status == 0
    assert "MODULE:ATTRIBUTE" in done.stdout
    assert "--json" in done.stdout


def test_replayed_while_a_worker_runs(inbox: Inbox, tmp_path: Path) -> None:
    """What the command replays is found by a worker that runs elsewhere, within its sweep."""
    write_program(tmp_path)
    program = (tmp_path / "shop.py").read_text(encoding="utf-8").replace("poll_interval=", "sweep_interval=0.2, poll_interval=")
    (tmp_path / "shop.py").write_text(program.replace("time.sleep(0.5)", "pass"), encoding="utf-8")
    number = inbox.arrive()
    process = inbox.command.start("worker", "shop:inbox", "--json", PYTHONPATH=str(tmp_path))
    try:
        operations = InboxOperations(inbox.store)
        wait_for(lambda: process.poll() is not None or inbox.statuses() == ["done"])
        assert inbox("replay", "evt_1").status == 0
        wait_for(lambda: inbox.statuses() == ["done"] and operations.inspect(number)[0].record.attempts == 2)
    finally:
        process.terminate()
        stdout, _ = process.communicate(timeout=60)
    assert json.loads(stdout) == {"handled": 2}


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
