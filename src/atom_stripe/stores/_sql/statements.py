"""The statements, each written once for both databases, and the way from a value to a row and back. Pure: nothing is run here."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError
from atom_stripe.protocols import Authorization, TokenRecord
from atom_stripe.stores._sql.tables import AUTHORIZATIONS, MOMENT, TOKENS, seconds

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import and_, bindparam, delete, func, literal_column, null, select, update
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Delete, Dialect, Select, Table, Update
    from sqlalchemy.sql.dml import Insert

    from atom_stripe.protocols import Reference, TokenQuery

RowT = TypeVar("RowT", TokenRecord, Authorization)

POSTGRESQL = "postgresql"
SQLITE = "sqlite"

# Both drivers take parameters by their names.
DIALECTS: Mapping[str, Dialect] = {
    POSTGRESQL: cast("type[Any]", PGDialect_psycopg)(paramstyle="pyformat"),
    SQLITE: SQLiteDialect_pysqlite(paramstyle="named"),
}

_LENGTH = 255
_MOST = 2**31 - 1  # rows that a LIMIT can name
_PURGED = 100  # rows that one insert removes at most
_KEPT = 86_400.0  # seconds that an expired authorization is kept: who comes back late is told so

# Outside of these two, PostgreSQL has no time but the infinite ones: 4714 BC and 294276 AD, both with room to spare.
_EARLIEST, _LATEST = -210_000_000_000.0, 9_224_000_000_000.0


class Statement(NamedTuple):
    """SQL for the driver, and its parameters."""

    sql: str
    parameters: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Statement({self.sql!r})"


class Statements:
    """The statements in the SQL of one database."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._tokens = _Keeper(dialect, TOKENS, ("id", "user_id", "profile", "livemode"))
        self._authorizations = _Keeper(dialect, AUTHORIZATIONS, ("digest",))
        reference = and_(*(TOKENS.c[name] == bindparam(name) for name in ("user_id", "profile", "livemode")))
        self._load = _sql(dialect, _select(dialect, TOKENS).where(reference))
        self._load_authorization = _sql(
            dialect, _select(dialect, AUTHORIZATIONS).where(AUTHORIZATIONS.c.digest == bindparam("digest"))
        )
        late = (
            select(AUTHORIZATIONS.c.digest)
            .where(AUTHORIZATIONS.c.expires_at < bindparam("before", type_=MOMENT))
            .limit(literal_column(str(_PURGED)))
            .offset(literal_column("0"))
            # Two that purge at once take different rows, and none waits for the other. SQLite has one writer and no such words.
            .with_for_update(skip_locked=True)
        )
        self._purge = _sql(dialect, delete(AUTHORIZATIONS).where(AUTHORIZATIONS.c.digest.in_(late)))

    def load(self, reference: Reference) -> Statement:
        """Return what reads the row of *reference*."""
        user_id, profile, livemode = reference
        _check("user_id", user_id)
        return Statement(self._load, {"user_id": user_id, "profile": profile, "livemode": livemode})

    def save(self, record: TokenRecord) -> Statement:
        """Return what writes *record*, if it may be written."""
        return self._tokens.save(record)

    def find(self, query: TokenQuery) -> Statement:
        """Return what reads the rows that *query* asks for."""
        if query.user_id is not None:
            _check("user_id", query.user_id)
        columns = TOKENS.c
        conditions = [
            columns[name] == value for name in ("user_id", "account", "profile") if (value := getattr(query, name)) is not None
        ]
        if query.livemode is not None:
            conditions.append(columns.livemode == bindparam("livemode", query.livemode))
        if query.states is not None:
            conditions.append(columns.state.in_(sorted(query.states)))
        if query.fingerprints is not None:
            conditions.append(columns.access_token_fingerprint.in_(sorted(query.fingerprints)))
        if query.expires_before is not None:
            conditions.append(columns.expires_at < self._moment(query.expires_before))
        if query.not_key_id is not None:
            conditions.append(columns.key_id != query.not_key_id)
        if query.after is not None:
            conditions.append(columns.id > query.after)
        rows = _select(self._dialect, TOKENS).where(*conditions).order_by(columns.id).limit(min(max(0, query.limit), _MOST))
        return statement(self._dialect, rows)

    def load_authorization(self, digest: str) -> Statement:
        """Return what reads the authorization under *digest*."""
        return Statement(self._load_authorization, {"digest": digest})

    def save_authorization(self, authorization: Authorization) -> list[Statement]:
        """Return what writes *authorization*, if it may be written; the last one says whether it was. An insert removes old ones first."""
        save = self._authorizations.save(authorization)
        if authorization.version:
            return [save]
        # The clock that gave the new one its time is the one that the old ones are late by.
        return [Statement(self._purge, {"before": _moment(self._dialect, authorization.created_at - _KEPT)}), save]

    def _moment(self, value: float) -> Any:
        return bindparam("moment", _moment(self._dialect, value), type_=MOMENT)


class _Keeper:
    """Inserts and replaces the rows of one table. *key*: the columns that a row keeps for ever."""

    def __init__(self, dialect: str, table: Table, key: Sequence[str]) -> None:
        self._dialect = dialect
        self._moments = frozenset(column.name for column in table.columns if column.type is MOMENT)
        self._names = [column.name for column in table.columns]
        values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in self._names}
        same = and_(table.c.version == bindparam("old_version"), *(table.c[name] == values[name] for name in key))
        changed = {name: value for name, value in values.items() if name not in key}
        insert = postgresql.insert if dialect == POSTGRESQL else sqlite.insert
        self._insert = _sql(dialect, insert(table).values(values).on_conflict_do_nothing())
        self._update = _sql(dialect, update(table).where(same).values(changed))

    def save(self, value: TokenRecord | Authorization) -> Statement:
        _check("user_id", value.user_id)
        parameters = {f"new_{name}": getattr(value, name) for name in self._names}
        for name in self._moments:
            parameters[f"new_{name}"] = _moment(self._dialect, parameters[f"new_{name}"])
        parameters["new_version"] = value.version + 1
        if not value.version:
            return Statement(self._insert, parameters)
        parameters["old_version"] = value.version
        return Statement(self._update, parameters)


@cache
def statements(dialect: str) -> Statements:
    """Return the statements for *dialect*; they are written once in a process."""
    return Statements(dialect)


def statement(dialect: str, expression: Select[Any] | Update | Delete) -> Statement:
    """Return *expression* with the values that stand in it, in the SQL of *dialect*."""
    compiled = expression.compile(dialect=DIALECTS[dialect], compile_kwargs={"render_postcompile": True})
    return Statement(str(compiled), compiled.params)


def token_record(row: Sequence[Any]) -> TokenRecord:
    """Return the record that *row* holds."""
    return _filled(TokenRecord, _TOKEN_FIELDS, row)


def authorization(row: Sequence[Any]) -> Authorization:
    """Return the authorization that *row* holds."""
    return _filled(Authorization, _AUTHORIZATION_FIELDS, row)


def _filled(cls: type[RowT], setters: Sequence[Callable[[RowT, Any], None]], row: Sequence[Any]) -> RowT:
    # The __init__ of a frozen class with this many fields takes several times as long, and a row is read for every call to Stripe.
    value = object.__new__(cls)
    for setter, stored in zip(setters, row, strict=True):
        setter(value, stored)
    return value


def _setters(cls: type[RowT], table: Table) -> list[Callable[[RowT, Any], None]]:
    """Return what sets the fields of *cls*, in the order in which the columns of *table* are read."""
    names = [*table.c.keys(), "read_at"]
    if sorted(names) != sorted(field.name for field in fields(cls)):
        msg = f"the columns of {table.name} are not the fields of {cls.__name__}"
        raise TypeError(msg)
    return [_set_mode if name == "livemode" else cls.__dict__[name].__set__ for name in names]


def _set_mode(value: TokenRecord | Authorization, stored: object) -> None:
    # SQLite has no booleans.
    object.__setattr__(value, "livemode", bool(stored))


_TOKEN_FIELDS = _setters(TokenRecord, TOKENS)
_AUTHORIZATION_FIELDS = _setters(Authorization, AUTHORIZATIONS)


def _select(dialect: str, table: Table) -> Select[Any]:
    # A clock that all machines share. What runs on SQLite runs on one machine, and has its clock.
    now = seconds(func.clock_timestamp()) if dialect == POSTGRESQL else null()
    return select(*table.columns, now.label("read_at"))


def _sql(dialect: str, statement: Select[Any] | Insert | Update | Delete) -> str:
    return str(statement.compile(dialect=DIALECTS[dialect]))


def _moment(dialect: str, value: float | None) -> float | None:
    if value is None:
        return None
    if math.isnan(value):
        msg = "a time must be a number of seconds since 1970, not NaN"
        raise ConfigurationError(msg)
    if dialect == SQLITE or _EARLIEST <= value <= _LATEST:
        return value
    return math.copysign(math.inf, value)


def _check(name: str, value: str) -> None:
    """Refuse what one database would cut off, another one refuse, and a third one keep."""
    try:
        value.encode()
    except UnicodeEncodeError:
        fits = False
    else:
        fits = len(value) <= _LENGTH and "\0" not in value
    if not fits:
        msg = f"{name} must be text of up to {_LENGTH} characters, without NUL"
        raise ConfigurationError(msg)
