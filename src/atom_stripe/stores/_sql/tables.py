"""The tables as they are now. How they came to be is in ``_migrations``; a test holds the two against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import (
        BigInteger,
        Boolean,
        Column,
        DateTime,
        Double,
        Index,
        MetaData,
        PrimaryKeyConstraint,
        String,
        Table,
        Text,
        TypeDecorator,
        UniqueConstraint,
        cast,
        func,
        literal_column,
    )

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, ColumnElement
    from sqlalchemy.types import TypeEngine


class Moment(TypeDecorator[float]):
    """
    Seconds since 1970, in PostgreSQL's own type for times.

    The server converts, so no ``datetime`` is in between, which ends in the year 9999 and knows no infinity.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_expression(self, bindparam: BindParameter[float]) -> ColumnElement[float]:
        """Return what turns seconds into a time."""
        return func.to_timestamp(cast(bindparam, Double), type_=self)

    def column_expression(self, column: ColumnElement[float]) -> ColumnElement[float]:
        """Return what turns a time into seconds."""
        return seconds(column)


def seconds(moment: ColumnElement[Any]) -> ColumnElement[float]:
    """Return the expression of PostgreSQL's for *moment* in seconds since 1970."""
    # EXTRACT would take a detour through decimal numbers.
    return func.date_part(literal_column("'epoch'"), moment, type_=Double())


# SQLite has no type for times: seconds stay what they are.
MOMENT: TypeEngine[float] = Double().with_variant(Moment(), "postgresql")
# Ids are ordered by their bytes, as SQLite and Python order them, and not by some language.
ID = String(255).with_variant(String(255, collation="C"), "postgresql")

METADATA = MetaData()

# What Stripe sends has no length of its own here: a token must not be lost because a column is too short.
TOKENS = Table(
    "stripe_oauth_tokens",
    METADATA,
    Column("id", ID, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("profile", String(32), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("state", String(32), nullable=False),
    Column("account", Text),
    Column("stripe_user_id", Text),
    Column("stripe_publishable_key", Text),
    Column("scope", Text),
    Column("token_type", Text),
    Column("access_token", Text),
    Column("refresh_token", Text),
    Column("access_token_fingerprint", Text),
    Column("key_id", Text),
    Column("expires_at", MOMENT),
    Column("lease_owner", Text),
    Column("lease_until", MOMENT),
    Column("intent_key", Text),
    Column("intent_generation", BigInteger),
    Column("intent_at", MOMENT),
    Column("last_error", Text),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("id", name="pk_stripe_oauth_tokens"),
    UniqueConstraint("user_id", "profile", "livemode", name="uq_stripe_oauth_tokens_reference"),
    Index("idx_stripe_user_id", "user_id"),
    Index("idx_stripe_access_token_fingerprint", "access_token_fingerprint"),
    Index("idx_stripe_expires_at", "expires_at"),
    Index("idx_stripe_account", "account"),
)

AUTHORIZATIONS = Table(
    "stripe_oauth_authorizations",
    METADATA,
    Column("digest", ID, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("profile", String(32), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("session", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("scope", Text),
    Column("expires_at", MOMENT, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("state", String(32), nullable=False),
    Column("account", Text),
    Column("code", Text),
    Column("connection_id", Text),
    Column("error", Text),
    Column("created_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("digest", name="pk_stripe_oauth_authorizations"),
    Index("idx_stripe_authorizations_expires_at", "expires_at"),
)
