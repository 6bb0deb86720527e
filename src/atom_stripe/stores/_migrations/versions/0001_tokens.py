"""Connections and authorizations. A table of plaintext tokens from before is set aside, with all that is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TOKENS = "stripe_oauth_tokens"
ORIGINAL = "stripe_oauth_tokens_original"

MOMENT: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.DateTime(timezone=True), "postgresql")
ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")


def upgrade(operations: Operations) -> None:
    """Make the tables."""
    set_aside(operations)
    operations.create_table(
        TOKENS,
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("profile", sa.String(32), nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("account", sa.Text),
        sa.Column("stripe_user_id", sa.Text),
        sa.Column("stripe_publishable_key", sa.Text),
        sa.Column("scope", sa.Text),
        sa.Column("token_type", sa.Text),
        sa.Column("access_token", sa.Text),
        sa.Column("refresh_token", sa.Text),
        sa.Column("access_token_fingerprint", sa.Text),
        sa.Column("key_id", sa.Text),
        sa.Column("expires_at", MOMENT),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", MOMENT),
        sa.Column("intent_key", sa.Text),
        sa.Column("intent_generation", sa.BigInteger),
        sa.Column("intent_at", MOMENT),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stripe_oauth_tokens"),
        sa.UniqueConstraint("user_id", "profile", "livemode", name="uq_stripe_oauth_tokens_reference"),
    )
    operations.create_index("idx_stripe_user_id", TOKENS, ["user_id"])
    operations.create_index("idx_stripe_access_token_fingerprint", TOKENS, ["access_token_fingerprint"])
    operations.create_index("idx_stripe_expires_at", TOKENS, ["expires_at"])
    operations.create_index("idx_stripe_account", TOKENS, ["account"])
    operations.create_table(
        "stripe_oauth_authorizations",
        sa.Column("digest", ID, nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("profile", sa.String(32), nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("scope", sa.Text),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("account", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("connection_id", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_stripe_oauth_authorizations"),
    )
    operations.create_index("idx_stripe_authorizations_expires_at", "stripe_oauth_authorizations", ["expires_at"])


def set_aside(operations: Operations) -> None:
    """Rename a table that has our name and is not ours, and its indexes, whose names we need too."""
    connection = operations.get_bind()
    inspector = sa.inspect(connection)
    if not inspector.has_table(TOKENS):
        return
    if any(column["name"] == "generation" for column in inspector.get_columns(TOKENS)):
        msg = f"there is a table {TOKENS} with the columns of ours, but no record of who made it: rename it, then upgrade again"
        raise StoreError(msg, retryable=False)
    if inspector.has_table(ORIGINAL):
        msg = f"both {TOKENS} and {ORIGINAL} hold tokens from before: rename the second one, then upgrade again"
        raise StoreError(msg, retryable=False)
    indexes = [index for index in inspector.get_indexes(TOKENS) if index["name"] and not index.get("duplicates_constraint")]
    operations.rename_table(TOKENS, ORIGINAL)
    for index in indexes:
        rename_index(connection, str(index["name"]))


def rename_index(connection: sa.Connection, name: str) -> None:
    """Give the index *name* of the table that was set aside a name that nobody else wants."""
    quote = connection.dialect.identifier_preparer.quote
    new = f"{name[:50]}_original"
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER INDEX {quote(name)} RENAME TO {quote(new)}")
        return
    # SQLite renames no index. What it was made with is read only now: it names the table as it is called by now.
    made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)).scalar_one()
    before, on, columns = made.partition(" ON ")
    unique = "UNIQUE " if "UNIQUE" in before.upper().split() else ""
    connection.exec_driver_sql(f"DROP INDEX {quote(name)}")
    connection.exec_driver_sql(f"CREATE {unique}INDEX {quote(new)}{on}{columns}")
