"""How the tables come to be, on a file of SQLite's and on a real PostgreSQL."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import TokenRecord
from atom_stripe.stores._sql.tables import METADATA
from atom_stripe.stores.sql import OriginalToken, SqlTokenStore, current, delete_original, pending, read_original, upgrade
from tests.canary import ACCESS_TOKEN, MARK, REFRESH_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGINAL = """
CREATE TABLE stripe_oauth_tokens (
    id {serial} PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    access_token TEXT NOT NULL,
    refresh_token TEXT,
    token_type VARCHAR(50),
    expires_at TIMESTAMP,
    stripe_user_id VARCHAR(255),
    stripe_publishable_key VARCHAR(255),
    scope TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
)
"""
INDEXES = (
    "CREATE INDEX idx_stripe_user_id ON stripe_oauth_tokens(user_id)",
    "CREATE INDEX idx_stripe_access_token ON stripe_oauth_tokens(access_token)",
    'CREATE UNIQUE INDEX "odd on name" ON stripe_oauth_tokens(user_id, stripe_user_id)',
    "CREATE INDEX idx_stripe_expires_at ON stripe_oauth_tokens(expires_at)",
)
ROW = "INSERT INTO stripe_oauth_tokens (user_id, access_token, refresh_token, expires_at, created_at) VALUES (:user, :access, :refresh, :at, :at)"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Yield an engine for an empty database."""
    made = create_engine(
        make_url(database_url).set(drivername=database_url.partition(":")[0].replace("postgresql", "postgresql+psycopg"))
    )
    yield made
    made.dispose()


def run(engine: Engine, *statements: str, **values: Any) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), values)


def original(engine: Engine, count: int = 3) -> None:
    """Make the table of plaintext tokens and its indexes, with *count* rows."""
    serial = "SERIAL" if engine.dialect.name == "postgresql" else "INTEGER"
    run(engine, ORIGINAL.format(serial=serial), *INDEXES)
    for number in range(1, count + 1):
        run(engine, ROW, user=f"user_{number}", access=f"{ACCESS_TOKEN}{number}", refresh=REFRESH_TOKEN, at="2024-02-03 04:05:06.5")


def indexes(engine: Engine, table: str) -> set[str]:
    return {str(index["name"]) for index in inspect(engine).get_indexes(table)}


def test_the_tables_are_as_the_stores_know_them(engine: Engine) -> None:
    """The migrations make exactly the tables, columns, constraints and indexes that the statements are written for."""
    upgrade(engine)
    with engine.connect() as connection:
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"version_table": "stripe_alembic_version"}), METADATA
        )
    assert differences == []
    assert inspect(engine).get_unique_constraints("stripe_oauth_tokens")[0]["column_names"] == ["user_id", "profile", "livemode"]
    assert indexes(engine, "stripe_oauth_tokens") >= {
        "idx_stripe_user_id",
        "idx_stripe_expires_at",
        "idx_stripe_access_token_fingerprint",
    }
    assert not any("access_token" in index["column_names"] for index in inspect(engine).get_indexes("stripe_oauth_tokens"))


def test_upgrading_twice_changes_nothing(database_url: str, engine: Engine) -> None:
    """An upgrade says what it did, the second one does nothing; URLs and engines are the same to it."""
    assert (current(engine), pending(engine)) == (None, ["0001", "0002"])
    assert upgrade(database_url) == ["0001", "0002"]
    assert upgrade(engine) == []
    assert (current(database_url), pending(database_url)) == ("0002", [])


UPGRADE = """
import sys
from atom_stripe.stores.sql import upgrade
print("ready", flush=True)
sys.stdin.readline()
print(upgrade(sys.argv[1]))
"""


def test_two_processes_upgrade_at_once(database_url: str, engine: Engine) -> None:
    """One of two processes does the work, the other one waits and finds it done."""
    original(engine)
    command = [sys.executable, "-c", UPGRADE, database_url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(said) == ["['0001', '0002']\n", "[]\n", "[]\n"]
    assert len(read_original(engine)) == 3


def test_the_original_table_is_set_aside(database_url: str, engine: Engine) -> None:
    """A table of plaintext tokens is renamed with all its rows and indexes, and the new one takes its name."""
    original(engine)
    assert upgrade(engine) == ["0001", "0002"]
    rows = read_original(engine)
    assert rows[0] == OriginalToken(
        id=1,
        user_id="user_1",
        access_token=f"{ACCESS_TOKEN}1",
        refresh_token=REFRESH_TOKEN,
        expires_at=1706933106.5,
        created_at=1706933106.5,
        updated_at=rows[0].updated_at,
    )
    assert rows[0].updated_at is not None
    assert [row.id for row in rows] == [1, 2, 3]
    assert MARK not in repr(rows)
    assert indexes(engine, "stripe_oauth_tokens_original") == {
        "idx_stripe_user_id_original",
        "idx_stripe_access_token_original",
        "idx_stripe_expires_at_original",
        "odd on name_original",
    }
    unique = [index["name"] for index in inspect(engine).get_indexes("stripe_oauth_tokens_original") if index["unique"]]
    assert unique == ["odd on name_original"]
    with SqlTokenStore.from_url(database_url) as store:
        assert store.save(TokenRecord(id="con_1", user_id="user_1", profile="connect", livemode=False))
    # The numbers of the old rows go on, so that its program can be put back.
    run(engine, ROW.replace("stripe_oauth_tokens", "stripe_oauth_tokens_original"), user="u", access="a", refresh=None, at=None)
    assert read_original(engine, after=3)[0].id == 4


def test_an_upgrade_that_fails_changes_nothing(engine: Engine) -> None:
    """When a table is in the way, everything stays as it was, and another upgrade can follow."""
    original(engine)
    run(engine, "CREATE TABLE stripe_oauth_authorizations (id INTEGER)")
    with pytest.raises(StoreError, match="could not upgrade its tables"):
        upgrade(engine)
    assert set(inspect(engine).get_table_names()) == {"stripe_oauth_tokens", "stripe_oauth_authorizations"}
    assert "idx_stripe_user_id" in indexes(engine, "stripe_oauth_tokens")
    assert len(read_original(engine, "stripe_oauth_tokens")) == 3
    run(engine, "DROP TABLE stripe_oauth_authorizations")
    assert upgrade(engine) == ["0001", "0002"]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("CREATE TABLE stripe_oauth_tokens_original (id INTEGER)", "rename the second one"),
        ("ALTER TABLE stripe_oauth_tokens ADD COLUMN generation INTEGER", "no record of who made it"),
    ],
)
def test_tables_of_unknown_origin_are_left_alone(engine: Engine, table: str, match: str) -> None:
    """Tables that have our names already are for a human to decide about."""
    original(engine)
    run(engine, table)
    before = set(inspect(engine).get_table_names())
    with pytest.raises(StoreError, match=match) as caught:
        upgrade(engine)
    assert not caught.value.retryable
    assert set(inspect(engine).get_table_names()) == before
    assert len(read_original(engine, "stripe_oauth_tokens")) == 3


def test_tables_of_a_newer_release_are_left_alone(engine: Engine) -> None:
    """A release that does not know the revision of the tables says so and changes nothing."""
    upgrade(engine)
    run(engine, "UPDATE stripe_alembic_version SET version_num = 'f999'")
    for call in (upgrade, pending):
        with pytest.raises(StoreError, match="a newer one made its tables") as caught:
            call(engine)
        assert not caught.value.retryable
    assert current(engine) == "f999"


def test_another_alembic_history_goes_on(engine: Engine) -> None:
    """An upgrade in the middle of somebody's own migration leaves that one, its version table and its logging alone."""
    run(engine, "CREATE TABLE alembic_version (version_num VARCHAR(32))", "INSERT INTO alembic_version VALUES ('theirs')")
    loggers = [logging.getLogger(name) for name in (None, "alembic", "sqlalchemy")]
    before = [(logger.level, list(logger.handlers), logger.disabled) for logger in loggers]
    other = create_engine("sqlite://")
    with other.connect() as connection, Operations.context(MigrationContext.configure(connection)):
        assert upgrade(engine) == ["0001", "0002"]
        assert op.get_bind() is connection
    other.dispose()
    assert [(logger.level, list(logger.handlers), logger.disabled) for logger in loggers] == before
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "theirs"


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    """A database that cannot be reached is a StoreError that holds no password."""
    for call in (upgrade, current, pending):
        with pytest.raises(StoreError) as caught:
            call(f"postgresql://user:{MARK}@/app?host={tmp_path}")
        assert caught.value.retryable
        assert MARK not in repr(caught.value)
        assert caught.value.__context__ is None


def test_original_rows_come_in_pages(engine: Engine) -> None:
    """Rows are read in the order of their ids, a page at a time; a table that is not there has none."""
    assert read_original(engine) == []
    original(engine, 5)
    upgrade(engine)
    ids: list[int | str] = []
    while page := read_original(engine, after=ids[-1] if ids else None, limit=2):
        assert len(page) <= 2
        ids += [row.id for row in page]
    assert ids == [1, 2, 3, 4, 5]
    assert read_original(engine, limit=0) == []


def test_a_smaller_original_table_is_read(engine: Engine) -> None:
    """Columns that were left out are None; a table without tokens is refused."""
    run(engine, "CREATE TABLE old (id INTEGER PRIMARY KEY, user_id TEXT, access_token TEXT, expires_at TEXT)")
    run(engine, "INSERT INTO old VALUES (1, 'u', 'a', '2024-02-03T04:05:06+01:00'), (2, NULL, NULL, 'soon'), (3, 'u', 'a', NULL)")
    assert read_original(engine, "old") == [
        OriginalToken(id=1, user_id="u", access_token="a", expires_at=1706929506.0),
        OriginalToken(id=2, user_id="", access_token=""),
        OriginalToken(id=3, user_id="u", access_token="a"),
    ]
    run(engine, "CREATE TABLE bare (id INTEGER)")
    with pytest.raises(ConfigurationError, match="bare holds no tokens: it has no column user_id"):
        read_original(engine, "bare")


def test_original_rows_are_deleted(engine: Engine, database_url: str) -> None:
    """Rows that were imported are deleted, the others stay; in SQLite's files no byte of them is left."""
    original(engine, 3)
    upgrade(engine)
    assert delete_original(engine, "stripe_oauth_tokens_original", []) == 0
    assert delete_original(engine, "stripe_oauth_tokens_original", [1, 3, 77]) == 2
    assert [row.id for row in read_original(engine)] == [2]
    assert delete_original(engine, "stripe_oauth_tokens_original", range(1000)) == 1
    assert delete_original(engine, "no_such_table", [1]) == 0
    if engine.dialect.name == "sqlite":
        for file in Path(make_url(database_url).database or "").parent.iterdir():
            assert MARK.encode() not in file.read_bytes()


def test_what_is_read_from_the_original_table_is_not_logged(engine: Engine) -> None:
    """The tokens pass by the echo of an engine, whatever its parameters are logged with."""
    original(engine, 1)
    echoing = create_engine(engine.url, echo="debug")
    assert read_original(echoing, "stripe_oauth_tokens")[0].access_token == f"{ACCESS_TOKEN}1"
    assert delete_original(echoing, "stripe_oauth_tokens", [1]) == 1
    echoing.dispose()
    logging.getLogger("sqlalchemy.engine.Engine").setLevel(logging.NOTSET)
