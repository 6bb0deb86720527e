"""What went wrong in a database, in our words: a database's own words hold the values of rows."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from atom_stripe._extras import require
from atom_stripe.errors import StoreError

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import exc

# SQLSTATE, or the first digits of it, after which trying again can help: the connection, the server's state, locks, resources.
_PASSING = ("08", "25006", "40", "53", "55P03", "57", "58")
_NO_TABLE = ("42P01", "42703")
_SQLITE_PASSING = frozenset({
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip

# Driver errors are not related to each other, and psycopg need not be installed to name them: every DB-API error is found by its name.
_DATABASE_ERRORS = frozenset({"Error", "Warning"})


class Failure(NamedTuple):
    """An error of a database's, as far as it may be repeated."""

    name: str
    code: str
    retryable: bool
    no_table: bool = False

    def error(self, doing: str, *, unknown: bool = False) -> StoreError:
        """Return the error to raise for it. *doing*: what was not done. *unknown*: or perhaps it was."""
        if self.no_table:
            advice = "its tables are missing or too old: run `atom-stripe db upgrade`, or atom_stripe.stores.sql.upgrade()"
            return StoreError(f"the store could not {doing}: {advice} ({self.name}, {self.code})", retryable=False)
        told = f"{self.name}, {self.code}" if self.code else self.name
        if unknown:
            return StoreError(f"the connection broke, so it is not known whether the store could {doing}: load it again ({told})")
        return StoreError(f"the store could not {doing} ({told})", retryable=self.retryable)


def is_failure(error: BaseException) -> bool:
    """Return whether *error* comes from a database or from what leads to it, and is not a mistake of ours."""
    if isinstance(error, (exc.SQLAlchemyError, UnicodeError, OverflowError)):
        return True
    return any(base.__name__ in _DATABASE_ERRORS and base.__module__ in {"sqlite3", "psycopg"} for base in type(error).__mro__)


def read(error: BaseException) -> Failure:
    """Return what *error* says."""
    if isinstance(error, exc.TimeoutError):
        return Failure("no connection became free in time", "", retryable=True)
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        error = error.orig
    name = type(error).__name__
    if isinstance(error, sqlite3.Error):
        return _sqlite(name, error)
    code: str | None = getattr(error, "sqlstate", None)
    if code is None:
        # psycopg knows no code for a connection that broke, or was never made.
        return Failure(name, "", retryable=name in {"OperationalError", "ConnectionTimeout", "InterfaceError"})
    return Failure(name, code, retryable=code.startswith(_PASSING), no_table=code in _NO_TABLE)


def _sqlite(name: str, error: sqlite3.Error) -> Failure:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Failure(name, "", retryable=False)
    # SQLite tells this case by its words alone; they name tables and columns, never values.
    # The next connection finds the file that is there now.
    moved = code == sqlite3.SQLITE_READONLY_DBMOVED
    missing = code == sqlite3.SQLITE_ERROR and str(error).startswith(("no such table", "no such column", "table "))
    return Failure(name, error.sqlite_errorname, retryable=moved or code & 0xFF in _SQLITE_PASSING, no_table=missing)
