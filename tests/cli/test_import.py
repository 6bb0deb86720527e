"""Plaintext tokens from before this package: ``import_original`` and ``atom-stripe connections import``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine, create_engine, make_url, text

from atom_stripe.errors import ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.protocols import Reference
from atom_stripe.stores.original import REASONS, ImportReport, LeftRow, holds_original, import_original
from atom_stripe.stores.sql import upgrade
from tests.canary import LIVE_KEY, MARK, REFRESH_TOKEN
from tests.databases import new_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command

# The table of the guide that came with the program before.
CREATE = """
CREATE TABLE {table} (
    id {serial}, user_id VARCHAR(255) NOT NULL, access_token TEXT NOT NULL, refresh_token TEXT, token_type VARCHAR(50), expires_at TIMESTAMP,
    stripe_user_id VARCHAR(255), stripe_publishable_key VARCHAR(255), scope TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
)
"""
TABLE = "stripe_oauth_tokens_original"
# In two parts, so that nobody takes it for a key.
TEST_TOKEN = f"sk_test_{MARK}0001"


class Original:
    """A table of plaintext tokens."""

    def __init__(self, engine: Engine, table: str = TABLE) -> None:
        self.engine = engine
        self.table = table
        serial = "SERIAL PRIMARY KEY" if engine.dialect.name == "postgresql" else "INTEGER PRIMARY KEY"
        with engine.begin() as connection:
            connection.execute(text(CREATE.format(table=table, serial=serial)))

    def add(self, user_id: str = "user_1", access_token: str = TEST_TOKEN, **columns: Any) -> None:
        row = {
            "user_id": user_id,
            "access_token": access_token,
            "stripe_user_id": "acct_1",
            "refresh_token": REFRESH_TOKEN,
            **columns,
        }
        names = ", ".join(row)
        with self.engine.begin() as connection:
            connection.execute(text(f"INSERT INTO {self.table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row)  # noqa: S608 - names of ours

    def ids(self) -> list[int]:
        with self.engine.begin() as connection:
            return [row_id for (row_id,) in connection.execute(text(f"SELECT id FROM {self.table} ORDER BY id"))]  # noqa: S608 - a name of ours


def engine_of(url: str) -> Engine:
    parsed = make_url(url)
    return create_engine(parsed.set(drivername="postgresql+psycopg") if parsed.drivername.startswith("postgres") else parsed)


@pytest.fixture
def original(command: Command, database_url: str) -> Iterator[Original]:
    """Yield an empty table of plaintext tokens beside ours."""
    engine = engine_of(database_url)
    yield Original(engine)
    engine.dispose()


def stored(command: Command, user_id: str = "user_1", *, livemode: bool = False, profile: Any = "connect") -> Any:
    return command.store.load(Reference(user_id, profile, livemode))


def test_a_table_is_imported(command: Command, original: Original, database_url: str) -> None:
    """Each row becomes an active connection of generation 1, encrypted with the first key, with all that was known of it."""
    original.add(
        token_type="bearer",
        scope="read_write",
        stripe_publishable_key="pk_test_abc",
        expires_at="2024-01-01 00:00:00",
        created_at="2023-11-14 22:13:20",
    )
    original.add("user_2", f"sk_live_{MARK}0002", stripe_user_id="acct_2", refresh_token=None)
    command.keys.insert(0, Keyring.generate_key("two"))
    seen: list[tuple[int, int]] = []
    report = import_original(
        database_url, command.store, command.keyring, progress=lambda done, total: seen.append((done, total)), batch=1
    )
    assert report == ImportReport(rows=2, imported=2)
    assert seen == [(1, 2), (2, 2)]
    row = stored(command)
    assert (row.state, row.generation, row.key_id, row.account, row.stripe_user_id) == ("active", 1, "two", "acct_1", "acct_1")
    assert (row.token_type, row.scope, row.stripe_publishable_key, row.created_at) == (
        "bearer",
        "read_write",
        "pk_test_abc",
        1_700_000_000,
    )
    # Tokens of Connect do not run out.
    assert row.expires_at is None
    assert command.tokens(row) == (TEST_TOKEN, REFRESH_TOKEN)
    assert command.tokens(stored(command, "user_2", livemode=True)) == (f"sk_live_{MARK}0002", None)
    found = command("connections", "find", "--json", input=TEST_TOKEN)
    assert [one["user_id"] for one in found.json] == ["user_1"]


def test_tokens_of_a_stripe_app_run_out(command: Command, original: Original, database_url: str) -> None:
    """Their end is the stored one, else an hour after the last change, so that they are renewed in time."""
    original.add("user_1", expires_at="2023-11-14 22:13:20")
    original.add("user_2", updated_at="2023-11-14 22:13:20")
    original.add("user_3", updated_at=None, created_at=None)
    import_original(database_url, command.store, command.keyring, profile="stripe_app", clock=lambda: 1_800_000_000.0)
    ends = [stored(command, f"user_{number}", profile="stripe_app").expires_at for number in (1, 2, 3)]
    assert ends == [1_700_000_000, 1_700_003_600, 1_800_000_000]


def test_a_second_import_does_nothing(command: Command, original: Original, database_url: str) -> None:
    """Rows that were imported are known again, also after their connection was renewed, rotated or ended."""
    for name in ("1", "2", "3"):
        original.add(f"user_{name}", stripe_user_id=f"acct_{name}")
    assert import_original(database_url, command.store, command.keyring).imported == 3
    assert command("connections", "forget", "user_2").status == 0
    command.keys.insert(0, Keyring.generate_key("two"))
    assert command("keys", "rotate").status == 0
    before = command.rows()
    assert import_original(database_url, command.store, command.keyring) == ImportReport(rows=3, already=3)
    assert [replace(row, read_at=None) for row in command.rows()] == [replace(row, read_at=None) for row in before]


def test_a_connection_that_is_there_is_not_touched(command: Command, original: Original, database_url: str) -> None:
    """A user who connected anew keeps that connection, also an ended one, and the plaintext row is reported and not deleted."""
    command.seed("1", user_id="user_1")
    command.seed("2", user_id="user_2")
    command("connections", "forget", "user_2")
    before = command.rows()
    original.add("user_1")
    original.add("user_2")
    report = import_original(database_url, command.store, command.keyring, delete_plaintext=True)
    assert report == ImportReport(rows=2, left=(LeftRow(1, "user_1", "connected"), LeftRow(2, "user_2", "connected")))
    assert [row.version for row in command.rows()] == [row.version for row in before]
    assert original.ids() == [1, 2]


def test_the_newest_row_of_a_user_wins(command: Command, original: Original, database_url: str) -> None:
    """By updated_at, then by place; the others are reported. Each mode has its own."""
    original.add(stripe_user_id="acct_new", updated_at="2025-03-01 00:00:00")
    original.add(stripe_user_id="acct_old", updated_at="2025-02-01 00:00:00")
    original.add(access_token=LIVE_KEY, stripe_user_id="acct_live", updated_at="2025-01-01 00:00:00")
    original.add("user_2", stripe_user_id="acct_first", updated_at=None, created_at=None)
    original.add("user_2", stripe_user_id="acct_second", updated_at=None, created_at=None)
    report = import_original(database_url, command.store, command.keyring, batch=2)
    assert (report.imported, report.left) == (3, (LeftRow(2, "user_1", "superseded"), LeftRow(4, "user_2", "superseded")))
    assert stored(command).account == "acct_new"
    assert stored(command, livemode=True).account == "acct_live"
    assert stored(command, "user_2").account == "acct_second"


def test_an_older_row_does_not_stand_in(command: Command, original: Original, database_url: str) -> None:
    """If a user's newest row cannot be imported, none is: an older one may lead to another account."""
    original.add(stripe_user_id="acct_old", updated_at="2025-02-01 00:00:00")
    original.add(access_token="", updated_at="2025-03-01 00:00:00")
    report = import_original(database_url, command.store, command.keyring)
    assert report.left == (LeftRow(1, "user_1", "newer_unusable"), LeftRow(2, "user_1", "malformed_token"))
    assert command.rows() == []


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        ("malformed_user_id", {"user_id": ""}),
        ("no_account", {"stripe_user_id": None}),
        ("no_account", {"stripe_user_id": "ca_123"}),
        ("malformed_token", {"access_token": ""}),
        ("malformed_token", {"access_token": "None"}),
        ("malformed_token", {"access_token": f"sk_test_{MARK} 1"}),
        ("malformed_token", {"access_token": "sk_test_" + "x" * 5000}),
        ("malformed_token", {"refresh_token": "rt"}),
        # What this package wrote: the wrong table.
        ("malformed_token", {"access_token": "as1:one::AAAAAAAAAAAAAAAA"}),
        ("encrypted", {"access_token": Fernet(Fernet.generate_key()).encrypt(b"x").decode()}),
        ("unknown_mode", {"access_token": f"sk_acct_{MARK}0001"}),
        ("mode_mismatch", {"stripe_publishable_key": "pk_live_abc"}),
    ],
)
def test_rows_that_are_left(command: Command, original: Original, database_url: str, reason: str, row: dict[str, Any]) -> None:
    """What is not certain is reported with its reason and left where it is, and the other rows are imported."""
    original.add(**row)
    original.add("user_2", stripe_user_id="acct_2")
    report = import_original(database_url, command.store, command.keyring, delete_plaintext=True)
    assert report == ImportReport(rows=2, imported=1, deleted=1, left=(LeftRow(1, row.get("user_id", "user_1"), reason),))  # type: ignore[arg-type]
    assert original.ids() == [1]
    assert reason in REASONS


def test_a_mode_is_said_for_tokens_that_do_not_tell(command: Command, original: Original, database_url: str) -> None:
    """With livemode such tokens have that mode, and those that tell the other one are left."""
    original.add("user_1", f"sk_acct_{MARK}0001")
    original.add("user_2")
    report = import_original(database_url, command.store, command.keyring, livemode=True)
    assert (report.imported, report.left) == (1, (LeftRow(2, "user_2", "mode_mismatch"),))
    assert stored(command, livemode=True).account == "acct_1"


def test_tokens_under_fernet(command: Command, original: Original, database_url: str) -> None:
    """Tokens that the program before had encrypted are decrypted with its key; another key leaves them."""
    key, other = Fernet.generate_key(), Fernet.generate_key()
    for user_id, one in (("user_1", key), ("user_2", other)):
        sealed = [Fernet(one).encrypt(token.encode()).decode() for token in (TEST_TOKEN, REFRESH_TOKEN)]
        original.add(user_id, sealed[0], refresh_token=sealed[1])
    done = command("connections", "import", "--fernet-key-env", "OLD_KEY", "--json", OLD_KEY=key.decode())
    assert done.status == 1
    assert done.json["left"] == [{"id": 2, "user_id": "user_2", "reason": "undecryptable"}]
    assert command.tokens(stored(command)) == (TEST_TOKEN, REFRESH_TOKEN)
    for value, message in ((None, "there is no Fernet key: set OLD_KEY"), ("short", "a Fernet key is 32 bytes")):
        refused = command("connections", "import", "--fernet-key-env", "OLD_KEY", OLD_KEY=value)
        assert (refused.status, refused.stdout) == (2, "")
        assert message in refused.stderr


def test_a_row_that_changed(command: Command, original: Original, database_url: str) -> None:
    """A row that is another one than was imported is reported and not deleted."""
    original.add()
    import_original(database_url, command.store, command.keyring)
    with original.engine.begin() as connection:
        connection.execute(text(f"UPDATE {TABLE} SET stripe_user_id = 'acct_2'"))  # noqa: S608 - a name of ours
    report = import_original(database_url, command.store, command.keyring, delete_plaintext=True)
    assert report == ImportReport(rows=1, left=(LeftRow(1, "user_1", "changed"),))


def test_a_stored_token_that_cannot_be_read(command: Command, original: Original, database_url: str) -> None:
    """Plaintext stays where it is as long as the encrypted token cannot be decrypted."""
    original.add()
    import_original(database_url, command.store, command.keyring)
    report = import_original(database_url, command.store, Keyring.generate(), delete_plaintext=True)
    assert report == ImportReport(rows=1, left=(LeftRow(1, "user_1", "unreadable"),))
    assert original.ids() == [1]


def test_a_dry_run_writes_nothing(command: Command, original: Original) -> None:
    """It says what would be done, and nothing is written or deleted."""
    original.add()
    original.add("user_2", "")
    done = command("connections", "import", "--dry-run", "--delete-plaintext")
    assert done.status == 1
    assert done.stdout.splitlines()[0] == "2 rows: 1 would be imported, 0 imported before, 1 left, 0 deleted"
    assert command.rows() == []
    assert original.ids() == [1, 2]


def test_plaintext_is_deleted(command: Command, original: Original, database_url: str) -> None:
    """Imported rows are deleted, earlier imports too, and the command says what it cannot delete."""
    original.add()
    import_original(database_url, command.store, command.keyring)
    original.add("user_2")
    assert holds_original(database_url)
    done = command("connections", "import", "--delete-plaintext", "--json")
    assert (done.status, done.json) == (
        0,
        {"rows": 2, "imported": 1, "already": 1, "deleted": 2, "left": [], "dry_run": False},
    )
    assert "Backups and replicas of the database still hold them" in done.stderr
    assert not holds_original(database_url)
    assert command("connections", "import").stderr == f"There are no rows in {TABLE}.\n"


def test_an_import_that_was_killed(command: Command, original: Original) -> None:
    """After kill -9 in the middle no token is lost or doubled, and the next import finishes the work."""
    users = [f"user_{number:03}" for number in range(300)]
    for user_id in users:
        original.add(user_id)
    process = command.start("connections", "import", "--batch", "1", "--delete-plaintext")
    while len(command.rows()) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    there = {row.user_id for row in command.rows()}
    assert 5 <= len(there) < 300
    # Whatever is not in plaintext any more is in the store.
    assert len(original.ids()) >= 300 - len(there)
    done = command("connections", "import", "--delete-plaintext", "--json")
    assert (done.status, done.json["left"]) == (0, [])
    assert sorted(row.user_id for row in command.rows()) == users
    assert {command.tokens(row) for row in command.rows()} == {(TEST_TOKEN, REFRESH_TOKEN)}
    assert original.ids() == []


def test_another_database(on_file: Command) -> None:
    """The plaintext tokens may be in another database and under another name."""
    with new_sqlite() as url:
        engine = engine_of(url)
        Original(engine, "stripe_oauth_tokens").add()
        engine.dispose()
        done = on_file("connections", "import", "--from", url, "--table", "stripe_oauth_tokens", "--json")
        assert (done.status, done.json["imported"]) == (0, 1)
        again = on_file("connections", "import", "--table", "stripe_oauth_tokens", "--json", ORIGINAL_DATABASE_URL=url)
        assert (again.status, again.json["already"]) == (0, 1)


def test_the_table_that_the_upgrade_sets_aside(on_file: Command) -> None:
    """From the table of the program before to encrypted connections it takes an upgrade and an import."""
    with new_sqlite() as url:
        engine = engine_of(url)
        Original(engine, "stripe_oauth_tokens").add()
        engine.dispose()
        upgraded = on_file("db", "upgrade", "--json", DATABASE_URL=url)
        assert upgraded.json["applied"][-1] == upgraded.json["revision"]
        assert "holds tokens in plaintext. Run: atom-stripe connections import" in upgraded.stderr
        assert on_file("db", "status", "--json", DATABASE_URL=url).json["plaintext_tokens"] is True
        assert on_file("connections", "import", "--delete-plaintext", DATABASE_URL=url).status == 0
        assert on_file("db", "status", "--json", DATABASE_URL=url).json["plaintext_tokens"] is False
        assert MARK.encode() not in b"".join(make_bytes(url))


def make_bytes(url: str) -> Iterator[bytes]:
    """Yield what is in the files of a database."""
    from pathlib import Path

    for path in sorted(Path(str(make_url(url).database)).parent.iterdir()):
        yield path.read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"profile": "other"}, "profile is one of connect, stripe_app"), ({"batch": 0}, "batch is a whole number above 0")],
)
def test_bad_settings(on_file: Command, settings: dict[str, Any], message: str) -> None:
    """Malformed settings are refused before anything is read."""
    with pytest.raises(ConfigurationError, match=message):
        import_original(on_file.environment["DATABASE_URL"], on_file.store, on_file.keyring, **settings)


def test_our_own_table_is_no_source(on_file: Command, sqlite_url: str) -> None:
    """Pointed at the table of encrypted tokens, the import takes nothing and deletes nothing."""
    on_file.seed("1")
    upgrade(sqlite_url)
    done = on_file("connections", "import", "--table", "stripe_oauth_tokens", "--delete-plaintext", "--json")
    assert (done.status, done.json["imported"], done.json["deleted"]) == (1, 0, 0)
    assert len(on_file.rows()) == 1
