"""The connections of engines."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import AsyncConnection, Connection

# libpq's, in seconds but for the last one: a server that went away without a word is noticed.
_CONNECTION = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "atom-stripe",
}


def conninfo(url: str) -> str:
    """
    Return *url* as psycopg wants it.

    Raises:
        ConfigurationError: It is none for PostgreSQL.
        MissingExtraError: psycopg is not installed.
    """
    with require("psycopg", extra="postgres"):
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
        from psycopg.errors import ProgrammingError

    scheme, separator, rest = str(url).partition("://")
    parameters: dict[str, Any] | None = None
    if separator and scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        try:
            parameters = dict(conninfo_to_dict(f"postgresql://{rest}"))
        except ProgrammingError:
            # libpq's message repeats the URL, and its password.
            parameters = None
    if parameters is None:
        msg = "an engine needs the URL of a PostgreSQL database: postgresql://user@host/database"
        raise ConfigurationError(msg)
    return make_conninfo("", **{**_CONNECTION, **parameters})


async def connect(info: str) -> AsyncConnection[Any]:
    """Return an async connection, each statement of which is a transaction."""
    from psycopg import AsyncConnection

    return await AsyncConnection.connect(info, autocommit=True, prepare_threshold=None)


@contextmanager
def connected(info: str, doing: str, **parameters: str) -> Generator[Connection[Any]]:
    """
    Yield a connection, each statement of which is a transaction.

    Raises:
        StoreError: The database is away, or refused.
    """
    import psycopg

    failed: StoreError
    try:
        with psycopg.connect(info, autocommit=True, prepare_threshold=None, **parameters) as connection:  # type: ignore[arg-type]
            yield connection
            return
    except psycopg.Error as error:
        failed = failure(error, doing)
    raise failed


def failure(error: Exception, doing: str) -> StoreError:
    """Return *error* of psycopg's without its words, which can hold values."""
    code: str | None = getattr(error, "sqlstate", None)
    told = f"{type(error).__name__}, {code}" if code else type(error).__name__
    retryable = code is None or code.startswith(("08", "40", "53", "55P03", "57", "58"))
    return StoreError(f"the engine could not {doing} ({told})", retryable=retryable)
