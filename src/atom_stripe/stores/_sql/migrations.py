"""Brings the tables up to date. The steps are in ``_migrations``."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from atom_stripe._extras import require
from atom_stripe.errors import StoreError
from atom_stripe.stores._sql import failures
from atom_stripe.stores._sql.database import supported
from atom_stripe.stores._sql.engines import engine_from
from atom_stripe.stores._sql.statements import POSTGRESQL

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import URL, Connection

T = TypeVar("T")

VERSION_TABLE = "stripe_alembic_version"

_FOLDER = Path(__file__).parent.parent / "_migrations"
_LOCK = 0x61746F6D_73747270  # a number of ours among PostgreSQL's advisory locks


def upgrade(engine: Engine | str | URL) -> list[str]:
    """
    Bring the tables up to date, and return the revisions that this took, oldest first; none if they were.

    Everything happens in one transaction. Several processes may call at once: one works, the others wait for it. A table
    ``stripe_oauth_tokens`` of plaintext tokens, from before this package, is renamed to ``stripe_oauth_tokens_original``. Only tables whose
    names begin with ``stripe_`` are touched: the package has a version table of its own, so an Alembic history of yours goes on undisturbed.

    Raises:
        ConfigurationError: *engine* is for another database or driver, or the URL is none.
        StoreError: The database is away, or refused, or holds a table that is in the way. Nothing was changed.
    """

    def work(connection: Connection) -> list[str]:
        from alembic.operations import Operations

        script = _script()
        done: list[str] = []

        def steps(revision: Any, _context: MigrationContext) -> list[Any]:
            found = script._upgrade_revs("head", revision)  # noqa: SLF001 - what Alembic's own upgrade command calls
            done.extend(step.to_revisions[0] for step in found)
            return found

        context = _context(connection, fn=steps)
        context.run_migrations(operations=Operations(context))
        return done

    return _locked(engine, work, "upgrade its tables")


def current(engine: Engine | str | URL) -> str | None:
    """
    Return the revision that the tables are at, ``None`` if there are none yet.

    Raises:
        ConfigurationError: *engine* is for another database or driver, or the URL is none.
        StoreError: The database is away, or refused.
    """
    return _run(engine, lambda connection: _context(connection).get_current_revision(), "read the revision of its tables")


def pending(engine: Engine | str | URL) -> list[str]:
    """
    Return the revisions that ``upgrade`` would go through, oldest first; none if the tables are up to date.

    Raises:
        ConfigurationError: *engine* is for another database or driver, or the URL is none.
        StoreError: The database is away, or refused, or it is at a revision of a newer release.
    """

    def work(connection: Connection) -> list[str]:
        revision = _context(connection).get_current_revision()
        found = [step.revision for step in _script().iterate_revisions("head", revision or "base")]
        return found[::-1]

    return _run(engine, work, "read the revision of its tables")


def _script() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(_FOLDER))


def _context(connection: Connection, **options: Any) -> MigrationContext:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, **options})


def _locked(engine: Engine | str | URL, work: Callable[[Connection], T], doing: str) -> T:
    """Return what *work* returns in a transaction that nobody else upgrades beside."""

    def alone(connection: Connection) -> T:
        if connection.dialect.name == POSTGRESQL:
            # It ends with the transaction: behind PgBouncer, a session's lock would stay with somebody else.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        else:
            plain: Any = connection.connection.driver_connection
            plain.rollback()  # what the engine may have begun by itself, to read
            if not plain.in_transaction:
                plain.execute("BEGIN EXCLUSIVE")
        return work(connection)

    return _run(engine, alone, doing)


def _run(engine: Engine | str | URL, work: Callable[[Connection], T], doing: str) -> T:
    """Return what *work* returns with a connection in a transaction."""
    with require("alembic", extra="sql"):
        from alembic.script.revision import RevisionError
        from alembic.util import CommandError

    failed: StoreError
    with _opened(engine) as opened:
        try:
            with _connected(opened) as connection:
                return work(connection)
        except (CommandError, RevisionError):
            advice = "its revision is none of this release; a newer one made its tables"
            failed = StoreError(f"the store could not {doing}: {advice}", retryable=False)
        except Exception as error:
            if not failures.is_failure(error):
                raise
            failed = failures.read(error).error(doing)
    raise failed


@contextmanager
def _opened(engine: Engine | str | URL) -> Generator[Engine]:
    if isinstance(engine, Engine):
        supported(engine)
        yield engine
        return
    made = engine_from(engine)
    try:
        yield made
    finally:
        made.dispose()


@contextmanager
def _connected(engine: Engine) -> Generator[Connection]:
    """Yield a connection in a transaction that is committed at the end, whatever the engine does about transactions by itself."""
    if engine.dialect.name == POSTGRESQL:
        with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
            yield connection
        return
    with engine.connect() as connection:
        plain: Any = connection.connection.driver_connection
        before, plain.isolation_level = plain.isolation_level, None
        try:
            with connection.begin():
                yield connection
        finally:
            plain.isolation_level = before
