"""``atom-stripe keys``."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atom_stripe.keys import Keyring
from atom_stripe.protocols import Reference
from tests.canary import ACCESS_TOKEN, REFRESH_TOKEN

if TYPE_CHECKING:
    from tests.cli.conftest import Command

TOKENS = (ACCESS_TOKEN, REFRESH_TOKEN)


def test_a_new_key(on_file: Command) -> None:
    """One line for STRIPE_TOKEN_KEYS goes to stdout, and what to do with it to stderr."""
    done = on_file("keys", "generate", "--id", "spring")
    assert done.status == 0
    assert Keyring(done.stdout.strip()).ids == ("spring",)
    assert done.stdout.count("\n") == 1
    assert "Put it first in STRIPE_TOKEN_KEYS and keep the old keys behind it" in done.stderr
    assert on_file("keys", "generate", "--id", "spring").stdout != done.stdout


def test_a_new_key_as_json(on_file: Command) -> None:
    """The document holds the id and the line."""
    done = on_file("keys", "generate", "--json").json
    assert Keyring(done["key"]).ids == (done["id"],)


def test_an_id_that_is_none(on_file: Command) -> None:
    """A bad id is wrong usage."""
    done = on_file("keys", "generate", "--id", "two words")
    assert (done.status, done.stdout) == (2, "")
    assert "the id of a key is up to 64 letters" in done.stderr


@pytest.mark.parametrize("keys", ["", "one", "one:short", "fernet:AAAA"])
def test_keys_that_are_none(on_file: Command, keys: str) -> None:
    """Missing and malformed keys are a wrong configuration, and the message names the variable."""
    done = on_file("keys", "list", STRIPE_TOKEN_KEYS=keys)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "STRIPE_TOKEN_KEYS" in done.stderr
    assert done.stderr.count("\n") == 1


def test_which_keys_are_needed(command: Command) -> None:
    """Each key is listed with what it does and how many rows it encrypts; a row without tokens needs none."""
    command.seed("1")
    command.seed("2", livemode=True, profile="stripe_app")
    command.store.save(replace(command.rows()[0], id="con_3", user_id="user_3", version=0, access_token=None, key_id=None))
    command.keys.insert(0, Keyring.generate_key("two"))
    command.seed("4")
    done = command("keys", "list")
    assert done.status == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["KEY", "ROLE", "ROWS"],
        ["two", "encrypts", "1"],
        ["one", "decrypts", "2"],
    ]


def test_a_key_that_is_missing(command: Command) -> None:
    """Rows whose key is not configured are counted under its id, and the command exits with 1."""
    command.seed("1")
    command.keys[:] = [Keyring.generate_key("two")]
    done = command("keys", "list", "--json")
    assert done.status == 1
    assert done.json == {"keys": [{"id": "two", "role": "encrypts", "rows": 0}, {"id": "one", "role": "missing", "rows": 1}]}
    assert "has the id one: put it back" in done.stderr


def test_a_rotation(command: Command) -> None:
    """Every token of every profile, mode and state is encrypted with the first key, the old keys can be dropped, and no key of Stripe's is needed."""
    command.seed("1")
    command.seed("2", livemode=True, profile="stripe_app")
    command.seed("3", state="reauthorization_required")
    command.keys.insert(0, Keyring.generate_key("two"))
    done = command("keys", "rotate", "--batch", "2", "--json")
    assert done.status == 0
    assert done.json == {"key": "two", "rotated": 3, "unreadable": [], "rows": {"two": 3}, "droppable": ["one"]}
    assert "No row needs one any more" in done.stderr
    del command.keys[1]
    assert [command.tokens(row) for row in command.rows()] == [TOKENS] * 3
    again = command("keys", "rotate")
    assert (again.status, again.stdout) == (0, "0 rows encrypted with two, 3 rows in all\n")


def test_rows_that_cannot_be_read(command: Command) -> None:
    """They are named with the reason and left as they are, the others are rotated, and the command exits with 1."""
    command.seed("1")
    lost = command.seed("2", keys=Keyring([Keyring.generate_key("lost")]))
    copied = command.seed("3")
    command.store.save(replace(copied, version=1, account="acct_other"))
    command.keys.insert(0, Keyring.generate_key("two"))
    done = command("keys", "rotate", "--json")
    assert done.status == 1
    assert done.json["rotated"] == 1
    assert done.json["unreadable"] == [
        {"connection": "con_2", "reason": "UnknownKeyError"},
        {"connection": "con_3", "reason": "TamperedTokenError"},
    ]
    assert done.json["rows"] == {"one": 1, "two": 1, "lost": 1}
    assert done.json["droppable"] == []
    assert "connection con_3 cannot be read (TamperedTokenError)" in done.stderr
    assert command.store.load(lost.reference) == replace(lost, version=1)


def test_a_rotation_that_was_killed(command: Command) -> None:
    """After kill -9 in the middle every token can be read, and the next rotation finishes the work."""
    for number in range(300):
        command.seed(f"{number:03}")
    command.keys.insert(0, Keyring.generate_key("two"))
    process = command.start("keys", "rotate", "--batch", "1")
    while sum(row.key_id == "two" for row in command.rows()) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    rotated = sum(row.key_id == "two" for row in command.rows())
    assert 5 <= rotated < 300
    assert [command.tokens(row) for row in command.rows()] == [TOKENS] * 300
    done = command("keys", "rotate", "--json").json
    # What was written just before the end may not have been counted yet.
    assert done["rows"] == {"two": 300}
    assert done["rotated"] <= 300 - rotated
    assert [command.tokens(row) for row in command.rows()] == [TOKENS] * 300


def test_a_rotation_under_load(command: Command) -> None:
    """What others write while keys are rotated is kept: every write of theirs is still there."""
    for number in range(40):
        command.seed(f"{number:03}")
    command.keys.insert(0, Keyring.generate_key("two"))
    written: dict[str, int] = {}
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            for number in range(0, 40, 7):
                row = command.store.load(Reference(f"user_{number:03}", "connect", False))
                assert row is not None
                count = written.get(row.id, 0) + 1
                if command.store.save(replace(row, last_error=str(count))):
                    written[row.id] = count

    thread = threading.Thread(target=write)
    thread.start()
    try:
        done = command("keys", "rotate", "--json", "--batch", "3")
    finally:
        over.set()
        thread.join()
    assert (done.status, done.json["rows"]) == (0, {"two": 40})
    assert {row.id: row.last_error for row in command.rows() if row.last_error} == {
        name: str(count) for name, count in written.items()
    }
    assert [command.tokens(row) for row in command.rows()] == [TOKENS] * 40


def test_a_program_of_its_own(on_file: Command) -> None:
    """As a program, the command prints one document to stdout and ends with the same status."""
    on_file.seed("1")
    on_file.keys[:] = [Keyring.generate_key("two")]
    done = on_file.program("keys", "rotate", "--json")
    assert done.status == 1
    assert json.loads(done.stdout)["unreadable"] == [{"connection": "con_1", "reason": "UnknownKeyError"}]
