"""The SQL stores, on a file of SQLite's and on a real PostgreSQL."""

from __future__ import annotations

import logging
import signal
import stat
import subprocess
import sys
import traceback
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import psycopg
import pytest
from sqlalchemy import create_engine, event, make_url, text

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import Authorization, Reference, TokenQuery, TokenRecord
from atom_stripe.stores._sql import sessions, statements
from atom_stripe.stores.sql import AsyncSqlTokenStore, SqlTokenStore, upgrade
from atom_stripe.testing.conformance import TOKEN_STORE_CHECKS
from tests.canary import ACCESS_TOKEN, MARK, REFRESH_TOKEN
from tests.databases import new_postgres, new_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from atom_stripe.testing.conformance import Check

NOW = 1_700_000_000.0
DAY = 86_400.0


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of a database with our tables for tests that keep to rows of their own."""
    with new_sqlite() if request.param == "sqlite" else new_postgres(request.getfixturevalue("postgres_server")) as url:
        upgrade(url)
        yield url


@pytest.fixture
def url(database_url: str) -> str:
    """Return the URL of a database with our tables."""
    upgrade(database_url)
    return database_url


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """Return the URL of a PostgreSQL database with our tables."""
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def sqlite(sqlite_url: str) -> str:
    """Return the URL of a file with our tables."""
    upgrade(sqlite_url)
    return sqlite_url


@pytest.fixture
def store(url: str) -> Iterator[SqlTokenStore]:
    """Yield a store."""
    with SqlTokenStore.from_url(url) as store:
        yield store


def record(name: str = "1", **changes: Any) -> TokenRecord:
    row = TokenRecord(id=f"con_{name}", user_id=f"user_{name}", profile="connect", livemode=False, created_at=NOW, updated_at=NOW)
    return replace(row, **changes)


def authorization(name: str = "1", **changes: Any) -> Authorization:
    row = Authorization(
        digest=f"digest_{name}",
        user_id="user_1",
        profile="connect",
        livemode=False,
        session="s",
        redirect_uri="https://shop.example/callback",
        scope="read_write",
        created_at=NOW,
        expires_at=NOW + 600,
    )
    return replace(row, **changes)


def psycopg_engine(url: str, **options: Any) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), **options)


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS, ids=lambda check: check.name)
def test_the_store_keeps_every_promise(check: Check, shared_url: str) -> None:
    """The sync store passes the conformance suite."""
    check.run(lambda: SqlTokenStore.from_url(shared_url))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS, ids=lambda check: check.name)
def test_the_async_store_keeps_every_promise(check: Check, shared_url: str, backend: str) -> None:
    """The async store passes the conformance suite, under asyncio and trio."""
    anyio.run(check.run_async, lambda: AsyncSqlTokenStore.from_url(shared_url), backend=backend)


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        (0.0, 0.0),
        (-1.5, -1.5),
        (-62_135_596_800.0, -62_135_596_800.0),
        (253_402_300_800.25, 253_402_300_800.25),
        (9_223_999_999_999.0, 9_223_999_999_999.0),
        (1e18, float("inf")),
        (-1e18, float("-inf")),
        (float("inf"), float("inf")),
        (float("-inf"), float("-inf")),
    ],
)
def test_any_time_can_be_kept(store: SqlTokenStore, moment: float, kept: float) -> None:
    """Times before 1970 and after the year 9999 come back; what no database has a time for is kept as an infinite one, or as it is."""
    row = record(expires_at=moment, created_at=moment)
    assert store.save(row)
    loaded = store.load(row.reference)
    assert loaded is not None
    # PostgreSQL computes with doubles: after thousands of years, some microseconds are missing.
    assert loaded.expires_at == moment or loaded.expires_at == pytest.approx(kept, abs=1e-3)
    assert loaded.created_at == loaded.expires_at


def test_a_time_that_is_no_number_is_refused(store: SqlTokenStore) -> None:
    """NaN is refused: SQLite would make NULL of it."""
    with pytest.raises(ConfigurationError, match="NaN"):
        store.save(record(expires_at=float("nan")))


@pytest.mark.parametrize("user", ["x" * 256, "a\0b", "\ud800"], ids=["long", "nul", "surrogate"])
def test_a_user_id_that_a_database_would_change_is_refused(store: SqlTokenStore, user: str) -> None:
    """A user id that is too long, or no text for a database, is refused by every method before the database sees it."""
    for call in (
        lambda: store.load(Reference(user, "connect", livemode=False)),
        lambda: store.save(record(user_id=user)),
        lambda: store.find(TokenQuery(user_id=user)),
        lambda: store.save_authorization(authorization(user_id=user)),
    ):
        with pytest.raises(ConfigurationError, match="user_id must be text of up to 255 characters"):
            call()


def test_the_longest_user_id_is_kept(store: SqlTokenStore) -> None:
    """255 characters are kept, whatever their number of bytes."""
    row = record(user_id="\U0001f9fe" * 255)
    assert store.save(row)
    assert store.load(row.reference) == replace(row, version=1)


@pytest.mark.parametrize(("limit", "found"), [(-1, 0), (0, 0), (1, 1), (2**40, 2)])
def test_any_limit_is_one(store: SqlTokenStore, limit: int, found: int) -> None:
    """No limit is too small or too large for a database, and a negative one is not "all"."""
    assert store.save(record("1"))
    assert store.save(record("2"))
    assert len(store.find(TokenQuery(limit=limit))) == found


def test_a_connection_keeps_its_reference(store: SqlTokenStore) -> None:
    """A row does not move to another user: such a write is none."""
    assert store.save(record())
    assert not store.save(record(user_id="user_2", version=1))
    assert store.load(record().reference) == record(version=1)


def test_expired_authorizations_are_removed(store: SqlTokenStore) -> None:
    """An insert removes authorizations that expired a day before it, a hundred at most."""
    for number in range(150):
        assert store.save_authorization(authorization(str(number)))
    late = NOW + 600 + DAY
    assert store.save_authorization(authorization("edge", created_at=late, expires_at=late))
    assert store.load_authorization("digest_0") is not None
    for round_, left in (("a", 50), ("b", 0)):
        assert store.save_authorization(authorization(round_, created_at=late + 1, expires_at=late + 600))
        assert sum(store.load_authorization(f"digest_{number}") is not None for number in range(150)) == left
    assert store.load_authorization("digest_edge") is not None


SAVE_AND_DIE = """
import os, signal, sys
from atom_stripe.protocols import TokenRecord
from atom_stripe.stores.sql import SqlTokenStore
row = TokenRecord(id="con_1", user_id="user_1", profile="connect", livemode=False, access_token="ciphertext")
assert SqlTokenStore.from_url(sys.argv[1]).save(row)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_saved_survives_the_death_of_the_process(store: SqlTokenStore, url: str) -> None:
    """A process that is killed right after save() returned has left the row."""
    with started(SAVE_AND_DIE, url) as process:
        assert process.wait(60) == -signal.SIGKILL
    loaded = store.load(record().reference)
    assert loaded is not None
    assert loaded.access_token == "ciphertext"


RACE = """
import sys
from dataclasses import replace
from atom_stripe.protocols import Reference
from atom_stripe.stores.sql import SqlTokenStore
url, name, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SqlTokenStore.from_url(url)
reference = Reference("user_1", "connect", False)
store.load(reference)
print("ready", flush=True)
sys.stdin.readline()
while (row := store.load(reference)).version < wanted:
    if store.save(replace(row, lease_owner=name)):
        print(row.version, flush=True)
"""


def test_each_version_has_one_winner_among_processes(store: SqlTokenStore, url: str) -> None:
    """Processes that claim one row at once: every version is written exactly once."""
    assert store.save(record())
    processes = [started(RACE, url, f"process {number}", "60") for number in range(3)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [int(line) for process in processes for line in process.communicate(timeout=100)[0].split()]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(won) == list(range(1, 60))


FORK = """
import os, sys
from atom_stripe.protocols import Reference
from atom_stripe.stores.sql import SqlTokenStore
store = SqlTokenStore.from_url(sys.argv[1])
reference = Reference("user_1", "connect", False)
def session():
    pooled = store._database.engine.raw_connection()
    try:
        return pooled.driver_connection.info.backend_pid
    finally:
        pooled.close()
assert store.load(reference) is not None
parents = session()
child = os.fork()
if child == 0:
    fine = store.load(reference) is not None and session() != parents
    os._exit(0 if fine else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.load(reference) is not None and session() == parents
"""


def test_a_fork_gets_connections_of_its_own(postgres: str) -> None:
    """A forked process does not use the connections of its parent, and leaves them in order."""
    with SqlTokenStore.from_url(postgres) as store:
        assert store.save(record())
    with started(FORK, postgres) as process:
        assert process.wait(60) == 0


def ended(url: str) -> int:
    """End all other sessions in the database, as a restart of the server does, and return how many there were."""
    with psycopg.connect(url, autocommit=True) as admin:
        found = admin.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert found
    return int(found[0])


def test_dead_connections_are_not_noticed(postgres: str) -> None:
    """After a restart of the server the next load and the next save work: nothing was sent on the dead connection yet."""
    with SqlTokenStore.from_url(postgres) as store:
        assert store.save(record())
        assert ended(postgres) == 1
        assert store.load(record().reference) == record(version=1)
        assert ended(postgres) == 1
        assert store.save(record(version=1))
        assert store.load(record().reference) == record(version=2)


def test_a_connection_that_breaks_during_a_write_leaves_it_unknown(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that had begun is not repeated by the store: the error says that its outcome is unknown, and that trying again may help."""
    begin = sessions.PostgresSession.begin

    def begin_and_break(session: Any) -> None:
        begin(session)
        ended(postgres)

    with SqlTokenStore.from_url(postgres) as store:
        monkeypatch.setattr(sessions.PostgresSession, "begin", begin_and_break)
        with pytest.raises(StoreError, match="it is not known whether the store could save a connection") as caught:
            store.save(record())
        assert caught.value.retryable
        monkeypatch.undo()
        assert store.save(record())


def test_a_database_that_is_away_may_come_back(tmp_path: Any) -> None:
    """A database that cannot be reached is an error that a later try may not meet; the message holds no password."""
    for url, match in (
        (f"postgresql://user:{MARK}@/app?host={tmp_path}", "could not load a connection"),
        (f"sqlite:///{tmp_path}/no/such/folder/file.db", "SQLITE_CANTOPEN"),
    ):
        with SqlTokenStore.from_url(url) as store, pytest.raises(StoreError, match=match) as caught:
            store.load(record().reference)
        assert caught.value.retryable
        assert MARK not in "".join(traceback.format_exception(caught.value))


def test_missing_tables_are_advice(database_url: str) -> None:
    """Without the tables, every method says how to make them, and trying again is of no use."""
    with SqlTokenStore.from_url(database_url) as store:
        for call in (
            lambda: store.load(record().reference),
            lambda: store.save(record()),
            lambda: store.find(TokenQuery()),
            lambda: store.load_authorization("digest"),
            lambda: store.save_authorization(authorization()),
        ):
            with pytest.raises(StoreError, match="run `atom-stripe db upgrade`") as caught:
                call()
            assert not caught.value.retryable


def test_a_locked_file_may_be_free_later(sqlite: str) -> None:
    """Another writer that does not end is an error that a later try may not meet; reading goes on."""
    with SqlTokenStore.from_url(sqlite) as other:
        assert other.save(record())
        engine = create_engine(sqlite, connect_args={"timeout": 0.05})
        with SqlTokenStore(engine, close_engine=True) as store, closing(other._database.engine.raw_connection()) as busy:
            busy.driver_connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="SQLITE_BUSY") as caught:
                store.save(record(version=1))
            assert caught.value.retryable
            assert store.load(record().reference) == record(version=1)
            busy.driver_connection.rollback()
            assert store.save(record(version=1))


def test_a_locked_row_may_be_free_later(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another transaction that holds a row and does not end is an error that a later try may not meet."""
    monkeypatch.setattr(sessions, "_BEGIN", sessions._BEGIN.replace("'10s'", "'50ms'"))
    with SqlTokenStore.from_url(postgres) as store, psycopg.connect(postgres) as other:
        assert store.save(record())
        other.execute("SELECT FROM stripe_oauth_tokens FOR UPDATE")
        with pytest.raises(StoreError, match="55P03") as caught:
            store.save(record(version=1))
        assert caught.value.retryable
        assert store.load(record().reference) == record(version=1)
        other.rollback()
        assert store.save(record(version=1))


@pytest.mark.parametrize(("configured", "used"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")])
def test_postgres_waits_for_its_disk(postgres: str, configured: str, used: str) -> None:
    """What is saved is on PostgreSQL's disk, also where that is switched off; who waits for replicas still does. The session stays as it was."""
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET synchronous_commit = {configured}")
        admin.execute("CREATE TABLE seen (setting text)")
        admin.execute(
            "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$"
        )
        for table in ("stripe_oauth_tokens", "stripe_oauth_authorizations"):
            admin.execute(f"CREATE TRIGGER look AFTER INSERT OR UPDATE ON {table} EXECUTE FUNCTION look()")
        with SqlTokenStore.from_url(postgres) as store:
            assert store.save(record())
            assert store.save(record(version=1))
            assert store.save_authorization(authorization())
            with store._database.engine.connect() as connection:
                assert connection.execute(text("SHOW synchronous_commit")).scalar() == configured
                assert connection.execute(text("SHOW lock_timeout")).scalar() == "0"
        assert admin.execute("SELECT setting FROM seen").fetchall() == [(used,)] * 3


def test_sqlite_waits_for_its_disk(sqlite: str) -> None:
    """What is saved is on the disk also if the engine was told not to wait for that."""
    engine = create_engine(sqlite)
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous = OFF"))
    with SqlTokenStore(engine, close_engine=True) as store:
        assert store.save(record())
        with closing(engine.raw_connection()) as pooled:
            assert pooled.driver_connection.execute("PRAGMA synchronous").fetchone() == (2,)
    with SqlTokenStore.from_url(sqlite) as store, closing(store._database.engine.raw_connection()) as pooled:
        assert pooled.driver_connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert pooled.driver_connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("existing", [None, 0o640])
def test_a_new_file_is_for_its_owner_alone(tmp_path: Path, existing: int | None) -> None:
    """So is what SQLite puts beside it. A file that is there already keeps the mode that somebody gave it."""
    file = tmp_path / "stripe.db"
    if existing is not None:
        file.touch()
        file.chmod(existing)
    upgrade(f"sqlite:///{file}")
    with SqlTokenStore.from_url(f"sqlite:///{file}") as store:
        assert store.save(record())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("stripe.db", "stripe.db-wal", "stripe.db-shm"), existing or 0o600)


def prepared(store: SqlTokenStore) -> int:
    """Load many times in one session and return how many statements are prepared in it."""
    for _ in range(20):
        assert store.load(record().reference) is not None
    with closing(store._database.engine.raw_connection()) as pooled:
        row = pooled.driver_connection.execute("SELECT count(*) FROM pg_prepared_statements", prepare=False).fetchone()
    return int(row[0])


def test_nothing_is_prepared_behind_a_pooler(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a pooler, whose process ids are its own, no statement is prepared; without one, the load is."""
    with SqlTokenStore.from_url(postgres) as store:
        assert store.save(record())
        assert prepared(store) == 1
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda info: 4242))
    with SqlTokenStore.from_url(postgres) as store:
        assert prepared(store) == 0
    with SqlTokenStore(psycopg_engine(postgres), close_engine=True) as store:
        assert prepared(store) == 0


def test_an_engine_of_ones_own_stays_as_it_was(url: str) -> None:
    """With an engine that others use too, the store works and leaves the connections as they were."""
    engine = (
        psycopg_engine(url, pool_size=1, max_overflow=0)
        if url.startswith("postgres")
        else create_engine(url, pool_size=1, max_overflow=0)
    )
    with SqlTokenStore(engine) as store:
        assert store.save(record())
        assert not store.save(record())
        assert store.load(record().reference) == record(version=1)
        with engine.connect() as connection:
            connection.execute(text("UPDATE stripe_oauth_tokens SET state = 'revoked'"))
            connection.rollback()
        assert store.load(record().reference) == record(version=1)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT state FROM stripe_oauth_tokens")).scalar() == "active"
    engine.dispose()


def test_an_engine_that_begins_by_itself_can_be_used(sqlite: str) -> None:
    """SQLAlchemy's own recipe for transactions in SQLite, events that emit BEGIN, does not get in the way."""
    engine = create_engine(sqlite)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    assert upgrade(engine) == []
    with SqlTokenStore(engine, close_engine=True) as store:
        assert store.save(record())
        assert store.load(record().reference) == record(version=1)


def test_no_error_and_no_log_holds_a_token(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What an error says and drags along, and what SQLAlchemy and the driver log, holds no value of a row."""
    row = record(access_token=ACCESS_TOKEN, refresh_token=REFRESH_TOKEN, access_token_fingerprint=MARK, intent_key=MARK)
    # SQLAlchemy gives its logger a level of its own when it is imported: what comes after this test is to find it again.
    loggers = [logging.getLogger(name) for name in ("sqlalchemy", "psycopg")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        upgrade(database_url)
        with SqlTokenStore.from_url(database_url) as store:
            assert store.save(row)
            assert store.load(row.reference) == replace(row, version=1)
            assert store.find(TokenQuery(fingerprints=frozenset({MARK})))
            with store._database.engine.begin() as connection:
                connection.execute(text("DROP TABLE stripe_oauth_authorizations"))
                connection.execute(text("CREATE UNIQUE INDEX once ON stripe_oauth_tokens (access_token)"))
            assert store.save(record("2"))
            errors: list[BaseException] = []
            for call in (
                # The values of a row that breaks a rule are in the words of the database.
                lambda: store.save(record("2", access_token=ACCESS_TOKEN, version=1)),
                lambda: store.save(record("3", state=None, access_token=ACCESS_TOKEN)),
                lambda: store.save(record("4", access_token=f"{MARK}\ud800")),
                lambda: store.save(record("5", access_token=ACCESS_TOKEN, generation=2**70)),
                lambda: store.save_authorization(authorization(session=MARK, code=MARK)),
            ):
                with pytest.raises(StoreError) as caught:
                    call()
                errors.append(caught.value)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    for error in errors:
        assert error.__context__ is None
        assert error.__cause__ is None
        assert MARK not in repr(error) + "".join(traceback.format_exception(error))
    assert MARK not in repr(row) + repr(statements.statements("sqlite").save(row))
    assert MARK not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:secret@db/app",
        "postgresql+asyncpg://user:secret@db/app",
        "sqlite://",
        "sqlite:///:memory:",
        "secret",
        "postgresql://user:secret@db:port/app",
    ],
)
def test_an_url_that_will_not_do_is_refused(url: str) -> None:
    """An URL of another database, of SQLite's memory, or of nothing is refused in words that do not repeat its password."""
    with pytest.raises(ConfigurationError) as caught:
        SqlTokenStore.from_url(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_an_engine_that_will_not_do_is_refused() -> None:
    """An async engine, or one of another driver, is refused when the store is made."""
    from sqlalchemy.ext.asyncio import AsyncEngine

    with pytest.raises(ConfigurationError, match="AsyncEngine"):
        SqlTokenStore(AsyncEngine.__new__(AsyncEngine))  # type: ignore[arg-type]
    other = create_engine("sqlite://")
    other.dialect.driver = "pysqlcipher"
    with pytest.raises(ConfigurationError, match=r"sqlite\+pysqlcipher cannot be used"):
        SqlTokenStore(other)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_name_of_postgres_takes_psycopg(postgres: str, scheme: str) -> None:
    """The schemes that people and platforms use for PostgreSQL all lead to psycopg 3."""
    with SqlTokenStore.from_url(make_url(postgres).set(drivername=scheme)) as store:
        assert store.find(TokenQuery()) == []


def test_settings_in_the_url_win(postgres: str) -> None:
    """What the URL says about timeouts is not overruled."""
    for url, seconds in ((make_url(postgres).update_query_dict({"connect_timeout": "3"}), "3"), (postgres, "10")):
        with SqlTokenStore.from_url(url) as store, closing(store._database.engine.raw_connection()) as pooled:
            assert pooled.driver_connection.info.get_parameters()["connect_timeout"] == seconds


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_save_is_finished(url: str, backend: str) -> None:
    """A save whose caller is cancelled is finished all the same, and the connection is fit for the next one."""

    async def main() -> None:
        async with AsyncSqlTokenStore.from_url(url) as store:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await store.load(record().reference)
            async with anyio.create_task_group() as group:
                group.start_soon(store.save, record())
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            saved = await store.load(record().reference)
            assert saved in {None, record(version=1)}
            if saved is None:
                assert await store.save(record())

    anyio.run(main, backend=backend)


def test_one_store_serves_several_event_loops(url: str) -> None:
    """An async store is used from one event loop after the other."""
    store = AsyncSqlTokenStore.from_url(url)
    assert anyio.run(store.save, record())
    assert anyio.run(store.load, record().reference, backend="trio") == record(version=1)
    anyio.run(store.close)
