"""The inbox: events, their payloads, the log of deliveries, the audit log, and values. Nothing that was there is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EVENTS = "stripe_events"
PAYLOADS = "stripe_event_payloads"

NUMBER: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade(operations: Operations) -> None:
    """Make the tables."""
    operations.create_table(
        EVENTS,
        sa.Column("id", NUMBER, sa.Identity(always=False), nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("lane", NAME, nullable=False),
        sa.Column("endpoint", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("api_version", sa.Text),
        sa.Column("created", sa.Double),
        sa.Column("object_id", NAME),
        sa.Column("handlers", sa.Text, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("run", NAME),
        sa.Column("run_until", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_stripe_events"),
        sa.UniqueConstraint("account", "livemode", "event_id", name="uq_stripe_events_event"),
    )
    index(operations, "lane", ["lane", "id"], "status = 'pending'")
    index(operations, "pending", ["id", "received_at"], "status = 'pending' AND id > 0")
    index(operations, "run", ["lane", "run"], "run IS NOT NULL")
    index(operations, "due_at", ["due_at"], "due_at IS NOT NULL")
    index(operations, "parked", ["id"], "status = 'parked'")
    index(operations, "object", ["object_id", "id"], "object_id IS NOT NULL")
    operations.create_index("idx_stripe_events_received_at", EVENTS, ["received_at"])
    operations.create_table(
        PAYLOADS,
        sa.Column("id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stripe_event_payloads"),
    )
    operations.create_table(
        "stripe_deliveries",
        sa.Column("id", NUMBER, sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("endpoint", NAME, nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("event", NUMBER),
        sa.PrimaryKeyConstraint("id", name="pk_stripe_deliveries"),
    )
    operations.create_table(
        "stripe_audit",
        sa.Column("id", NUMBER, sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stripe_audit"),
    )
    operations.create_table(
        "stripe_values",
        sa.Column("name", NAME, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_stripe_values"),
    )
    connection = operations.get_bind()
    if connection.dialect.name == "postgresql":
        # Exact bytes, fast: not tried to be compressed.
        connection.exec_driver_sql(f"ALTER TABLE {PAYLOADS} ALTER COLUMN payload SET STORAGE EXTERNAL")


def index(operations: Operations, name: str, columns: list[str], where: str) -> None:
    """Make an index over some rows of the events."""
    condition = sa.text(where)
    operations.create_index(f"idx_stripe_events_{name}", EVENTS, columns, sqlite_where=condition, postgresql_where=condition)
