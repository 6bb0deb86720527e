"""
The tables of the inbox as they are now.

Times are seconds since 1970, as they come and go: an event's row is written four times in its life, and read as often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe._extras import require
from atom_stripe.stores._sql.tables import METADATA

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import (
        BigInteger,
        Boolean,
        Column,
        Double,
        Identity,
        Index,
        Integer,
        LargeBinary,
        PrimaryKeyConstraint,
        Table,
        Text,
        UniqueConstraint,
        text,
    )

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

# SQLite counts up by itself only what is called INTEGER.
NUMBER: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")

# Names are compared and ordered by their bytes.
NAME = Text().with_variant(Text(collation="C"), "postgresql")

_PENDING = text("status = 'pending'")
# With a condition that the search for a lane's head does not have: PostgreSQL would look for it here, if it thought that the lane is a busy one.
_ANY_PENDING = text("status = 'pending' AND id > 0")
_PARKED = text("status = 'parked'")
_CLAIMED = text("run IS NOT NULL")
_DUE = text("due_at IS NOT NULL")
_KNOWN = text("object_id IS NOT NULL")

EVENTS = Table(
    "stripe_events",
    METADATA,
    Column("id", NUMBER, Identity(always=False), nullable=False),
    Column("event_id", NAME, nullable=False),
    Column("type", NAME, nullable=False),
    Column("account", NAME, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("lane", NAME, nullable=False),
    Column("endpoint", NAME, nullable=False),
    Column("status", NAME, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("api_version", Text),
    Column("created", Double),
    Column("object_id", NAME),
    Column("handlers", Text, nullable=False),
    Column("due_at", Double),
    Column("attempts", NUMBER, nullable=False),
    Column("run", NAME),
    Column("run_until", Double),
    Column("finished_at", Double),
    PrimaryKeyConstraint("id", name="pk_stripe_events"),
    UniqueConstraint("account", "livemode", "event_id", name="uq_stripe_events_event"),
    # The next three hold only what is still to be done, however much is done.
    Index("idx_stripe_events_lane", "lane", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
    Index("idx_stripe_events_pending", "id", "received_at", sqlite_where=_ANY_PENDING, postgresql_where=_ANY_PENDING),
    Index("idx_stripe_events_run", "lane", "run", sqlite_where=_CLAIMED, postgresql_where=_CLAIMED),
    Index("idx_stripe_events_due_at", "due_at", sqlite_where=_DUE, postgresql_where=_DUE),
    Index("idx_stripe_events_parked", "id", sqlite_where=_PARKED, postgresql_where=_PARKED),
    Index("idx_stripe_events_object", "object_id", "id", sqlite_where=_KNOWN, postgresql_where=_KNOWN),
    Index("idx_stripe_events_received_at", "received_at"),
)

# Apart from the events: SQLite, and PostgreSQL up to 2 kB, write a whole row again for every change of its state.
PAYLOADS = Table(
    "stripe_event_payloads",
    METADATA,
    Column("id", NUMBER, autoincrement=False, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("id", name="pk_stripe_event_payloads"),
)

DELIVERIES = Table(
    "stripe_deliveries",
    METADATA,
    Column("id", NUMBER, Identity(always=False), nullable=False),
    Column("at", Double, nullable=False),
    Column("endpoint", NAME, nullable=False),
    Column("outcome", NAME, nullable=False),
    Column("reason", Text),
    Column("event", NUMBER),
    PrimaryKeyConstraint("id", name="pk_stripe_deliveries"),
)

AUDIT = Table(
    "stripe_audit",
    METADATA,
    Column("id", NUMBER, Identity(always=False), nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("id", name="pk_stripe_audit"),
)

VALUES = Table(
    "stripe_values",
    METADATA,
    Column("name", NAME, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name", name="pk_stripe_values"),
)
