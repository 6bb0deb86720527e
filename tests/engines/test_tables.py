"""What an engine has in the database, and what it is made with: tables that are made once, and settings that are checked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from atom_stripe.errors import ConfigurationError, StoreError
from tests.engines.worker import new_engine


def test_other_settings_of_pgqueuer_do_not_reach_it(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that PgQueuer reads, for another use of it or by accident, change nothing: workers and web servers must agree."""
    for variable in (
        "PGQUEUER_PREFIX",
        "PGQUEUER_SCHEMA",
        "CHANNEL",
        "FUNCTION",
        "TRIGGER",
        "QUEUE_TABLE",
        "PGQUEUER_QUEUE_TABLE_LOG",
    ):
        monkeypatch.setenv(variable, "elsewhere")
    new_engine("pgqueuer", postgres_url).upgrade()
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {row[0] for row in rows} == {
        "stripe_pgqueuer",
        "stripe_pgqueuer_log",
        "stripe_pgqueuer_schedules",
        "stripe_pgqueuer_statistics",
    }


def test_procrastinate_of_others_is_left_alone(postgres_url: str) -> None:
    """Tables of Procrastinate that somebody else made are used, and never changed."""
    engine = new_engine("procrastinate", postgres_url)
    engine.upgrade()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP TABLE stripe_procrastinate_migrations")
    assert engine.pending() == []
    assert engine.upgrade() == []


def test_steps_of_procrastinate_are_taken_once(postgres_url: str) -> None:
    """A step that the ledger does not know is pending, and taken by the next upgrade."""
    engine = new_engine("procrastinate", postgres_url)
    engine.upgrade()
    step = "03.03.00_01_pre_priority_lock_fetch_job.sql"
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DELETE FROM stripe_procrastinate_migrations WHERE name = %s", (step,))
    assert engine.pending() == [step]


def test_the_log_of_pgqueuer_is_pruned(postgres_url: str) -> None:
    """Entries of PgQueuer's log that are older than an hour are deleted, and later ones kept."""
    engine = new_engine("pgqueuer", postgres_url)
    engine.upgrade()
    with psycopg.connect(postgres_url) as connection:
        engine.wake(connection, ["old", "new"])
        connection.execute("UPDATE stripe_pgqueuer_log SET created = now() - interval '2 hours' WHERE job_id = 1")
    engine.tend()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT job_id FROM stripe_pgqueuer_log").fetchall() == [(2,)]


def test_what_is_left_of_jobs_of_procrastinate_is_deleted(postgres_url: str) -> None:
    """Jobs that failed are deleted, those that wait are kept."""
    engine = new_engine("procrastinate", postgres_url)
    engine.upgrade()
    with psycopg.connect(postgres_url) as connection:
        engine.wake(connection, ["old", "new"])
        connection.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE args->>'lane' = 'old'")
    engine.tend()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT args->>'lane' FROM procrastinate_jobs").fetchall() == [("new",)]


def test_tables_are_made_once(name: str, postgres_url: str) -> None:
    """Several processes may upgrade at once: one makes the tables, and the others find them up to date."""
    engine = new_engine(name, postgres_url)
    assert engine.pending() == ["install"]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: engine.upgrade(), range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 1]
    assert engine.pending() == []
    assert engine.upgrade(postgres_url) == []


def test_a_database_that_is_away_is_a_clear_error(name: str) -> None:
    """Without its database an engine says so in a StoreError, and its health is known nevertheless."""
    engine = new_engine(name, "postgresql://localhost:1/none")
    with pytest.raises(StoreError, match="could not upgrade its tables") as caught:
        engine.upgrade()
    assert caught.value.retryable
    with pytest.raises(StoreError, match="could not look at its tables"):
        engine.pending()
    health = engine.health()
    assert (health.running, health.listening, health.waiting) == (False, False, None)


@pytest.mark.parametrize("url", ["sqlite:///file.db", "postgresql://user:hunter2@host:port:port/x?y=z", "nothing"])
def test_another_url_is_refused_without_its_password(name: str, url: str) -> None:
    """A URL that is none for PostgreSQL is a ConfigurationError, in which its password is not repeated."""
    with pytest.raises(ConfigurationError, match="postgresql://") as caught:
        new_engine(name, url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_an_engine_shows_no_password(name: str) -> None:
    """The repr of an engine holds nothing of its URL."""
    assert "hunter2" not in repr(new_engine(name, "postgresql://user:hunter2@host/database"))
