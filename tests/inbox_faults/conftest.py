"""A shop's database with an inbox in it: SQLite, PostgreSQL, and PostgreSQL with an engine."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from atom_stripe.stores.sql import upgrade
from tests.databases import new_postgres
from tests.inbox_faults.shop import Shop, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

EFFECTS = "CREATE TABLE effects (event VARCHAR(255), attempt INTEGER)"


@pytest.fixture(scope="session")
def sqlite_template() -> Iterator[Path]:
    """Yield an SQLite file with all tables, to copy: that is faster than to make them for each test."""
    with tempfile.TemporaryDirectory(prefix="sqlite") as folder:
        shop = Shop("sqlite", f"sqlite:///{folder}/file.db")
        upgrade(shop.url)
        shop.execute(EFFECTS)
        yield Path(shop.file)


@pytest.fixture
def sqlite_shop(sqlite_template: Path) -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="sqlite") as folder:
        shutil.copy(sqlite_template, f"{folder}/file.db")
        yield Shop("sqlite", f"sqlite:///{folder}/file.db")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Yield the URL of a PostgreSQL database with all tables, also an engine's, to copy."""
    from atom_stripe.engines.pgqueuer import PgQueuerEngine

    with new_postgres(postgres_server) as url:
        shop = Shop("postgres", url)
        upgrade(url)
        PgQueuerEngine(url).upgrade()
        shop.execute(EFFECTS)
        # A database in which somebody is cannot be copied.
        wait_for(lambda: shop.rows("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == [(1,)])
        yield url


@pytest.fixture
def postgres_shop(postgres_template: str) -> Iterator[Shop]:
    parsed = make_url(postgres_template)
    name = f"test_{uuid.uuid4().hex}"
    admin_url = parsed.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(parsed.database or "")))
        yield Shop("postgres", parsed.set(database=name).render_as_string(hide_password=False))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def pgqueuer_shop(postgres_shop: Shop) -> Shop:
    from atom_stripe.engines.pgqueuer import PgQueuerEngine

    return Shop("pgqueuer", postgres_shop.url, PgQueuerEngine(postgres_shop.url))


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """Return a shop: the test runs with each kind of database."""
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


@pytest.fixture(params=["sqlite", "postgres", "pgqueuer"])
def any_shop(request: pytest.FixtureRequest) -> Shop:
    """Return a shop: the test runs with each kind of database, and with an engine."""
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found
