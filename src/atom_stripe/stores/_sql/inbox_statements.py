"""The statements of the inbox, and the way from an event to a row and back. Pure: nothing is run here."""

from __future__ import annotations

import json
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe.protocols import HandlerState, InboxRecord
from atom_stripe.stores._sql.inbox_tables import EVENTS, PAYLOADS
from atom_stripe.stores._sql.statements import DIALECTS, POSTGRESQL, Statement, statement

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import Double, func, select, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atom_stripe.protocols import Arrival, InboxQuery, Step

COLUMNS = tuple(column.name for column in EVENTS.columns)
# Made once: json.dumps() makes a new one for each call that says how to separate.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_STATE = ("status", "attempts", "due_at", "error", "finished_at")

# What an arrival brings, in the order of the columns.
_BROUGHT = ("event_id", "type", "account", "livemode", "lane", "endpoint", "received_at", "api_version", "created", "object_id")
_MOST = 2**31 - 1  # rows that a LIMIT can name

# A lane that is written, be it the same, costs the databases a look at every index.
_ADVANCE = """
    UPDATE stripe_events SET {moved}handlers = :handlers, status = :status, due_at = :due_at,
        run = CASE WHEN :keep THEN run END, run_until = CASE WHEN :keep THEN run_until END,
        finished_at = CASE WHEN :finished THEN {now} END
    WHERE id = :id AND run = :run AND run_until > {now}
"""

# The words of a condition stand in the statement, and are no parameter: else no partial index would serve it.
_SQL = {
    # One statement looks and takes. It takes nothing if another transaction got ahead, and the next look says what it left.
    "claim": f"""
        UPDATE stripe_events SET run = :run, run_until = {{now}} + :lease, attempts = attempts + 1
        WHERE id = (SELECT e.id FROM stripe_events AS e WHERE e.lane = :lane AND e.status = 'pending' ORDER BY e.id LIMIT 1)
        AND status = 'pending' AND (due_at IS NULL OR due_at <= {{now}})
        AND NOT EXISTS (
            SELECT 1 FROM stripe_events AS h WHERE h.lane = :lane AND h.run IS NOT NULL AND h.run_until > {{now}}
        )
        RETURNING {", ".join(COLUMNS)},
            (SELECT p.payload FROM stripe_event_payloads AS p WHERE p.id = stripe_events.id)
    """,  # noqa: S608 - only names of columns are put in
    "lane": """
        SELECT {now},
            (SELECT max(h.run_until) FROM stripe_events AS h WHERE h.lane = :lane AND h.run IS NOT NULL AND h.run_until > {now}),
            head.id, head.due_at
        FROM (SELECT 1 AS one) AS one LEFT JOIN (
            SELECT e.id, e.due_at FROM stripe_events AS e WHERE e.lane = :lane AND e.status = 'pending' ORDER BY e.id LIMIT 1
        ) AS head ON one.one = 1
    """,
    "lane_of": "SELECT lane FROM stripe_events WHERE id = :id",
    "advance": _ADVANCE.replace("{moved}", ""),
    "advance_to": _ADVANCE.replace("{moved}", "lane = :new_lane, "),
    "release": "UPDATE stripe_events SET run = NULL, run_until = NULL WHERE run IS NOT NULL AND run = :run AND run_until > {now}",
    "write": """
        UPDATE stripe_events SET handlers = :handlers, status = :status, due_at = :due_at, lane = :new_lane,
            run = NULL, run_until = NULL, finished_at = :finished_at
        WHERE id = :id
    """,
    "waiting": """
        SELECT id, lane, due_at, run_until FROM stripe_events WHERE status = 'pending' AND id > 0 AND id > :after ORDER BY id LIMIT :limit
    """,
    "counts": """
        SELECT {now}, p.pending, p.oldest,
            (SELECT count(*) FROM stripe_events WHERE status = 'parked'),
            (SELECT count(*) FROM stripe_events WHERE due_at IS NOT NULL AND due_at > {now} AND status = 'pending'),
            (SELECT count(*) FROM stripe_events WHERE run IS NOT NULL AND run_until > {now} AND status = 'pending')
        FROM (SELECT count(*) AS pending, min(received_at) AS oldest FROM stripe_events WHERE status = 'pending' AND id > 0) AS p
    """,
    "purge": """
        DELETE FROM stripe_event_payloads WHERE id IN (
            SELECT p.id FROM stripe_event_payloads AS p JOIN stripe_events AS e ON e.id = p.id
            WHERE e.status IN ('done', 'discarded') AND e.finished_at < :before ORDER BY p.id LIMIT :limit{locked}
        )
    """,
    "purge_deliveries": """
        DELETE FROM stripe_deliveries WHERE id IN (
            SELECT d.id FROM (SELECT id, at FROM stripe_deliveries ORDER BY id LIMIT :limit) AS d WHERE d.at < :before
        )
    """,
    "deliver": "INSERT INTO stripe_deliveries (at, endpoint, outcome, reason, event) VALUES (:at, :endpoint, :outcome, :reason, :event)",
    "log": "INSERT INTO stripe_audit (at, actor, action, subject, detail) VALUES (:at, :actor, :action, :subject, :detail)",
    "logged": "SELECT id, at, actor, action, subject, detail FROM stripe_audit WHERE id > :after ORDER BY id LIMIT :limit",
    "delivered": "SELECT at, endpoint, outcome FROM stripe_deliveries WHERE event = :id ORDER BY id LIMIT :limit",
    "value": "SELECT value FROM stripe_values WHERE name = :name",
    "keep": """
        INSERT INTO stripe_values (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
    """,
    "forget": "DELETE FROM stripe_values WHERE name = :name",
    "now": "SELECT {now}",
}

_CLOCK = "date_part('epoch', clock_timestamp())"

LAST_SQLITE = "SELECT coalesce(max(id), 0) FROM stripe_events"
DELIVER_SQLITE = """
    INSERT INTO stripe_deliveries (at, endpoint, outcome, event)
    SELECT received_at, endpoint, 'stored', id FROM stripe_events WHERE id BETWEEN ? AND ? ORDER BY id
"""

PRESENT_SQLITE = "SELECT id, lane, status FROM stripe_events WHERE account = ? AND livemode = ? AND event_id = ?"

# Who waits here for another claim looks at the rows only afterwards, in a statement of its own, which sees what the other one did.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(:lane, 7598818386))"
_LOCK_OF = "SELECT lane, pg_advisory_xact_lock(hashtextextended(lane, 7598818386)) FROM stripe_events WHERE id = :id"


class InboxStatements:
    """The statements in the SQL of one database. *now*: the store's time, for SQLite, which has no clock of its own that is good enough."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self._is_postgres = dialect == POSTGRESQL
        now = _CLOCK if self._is_postgres else ":now"
        # What somebody is replaying right now keeps its payload.
        locked = " FOR UPDATE OF e SKIP LOCKED" if self._is_postgres else ""
        self._sql = {name: self._text(sql.replace("{now}", now).replace("{locked}", locked)) for name, sql in _SQL.items()}
        self._lock = self._text(_LOCK)
        self._lock_of = self._text(_LOCK_OF)

    def _text(self, sql: str) -> str:
        return str(text(sql).compile(dialect=DIALECTS[self.dialect]))

    def get(self, name: str, /, **values: Any) -> Statement:
        """Return the statement that is called *name*, with its values."""
        return Statement(self._sql[name], values)

    def lock(self, lane: str) -> Statement:
        """Return what keeps others from claiming in *lane* until the transaction ends. PostgreSQL only."""
        return Statement(self._lock, {"lane": lane})

    def lock_of(self, id_: int) -> Statement:
        """Return what does so for the lane of the event *id_*, and reads which one that is."""
        return Statement(self._lock_of if self._is_postgres else self._sql["lane_of"], {"id": id_})

    def advance(self, step: Step, now: float) -> Statement:
        """Return what writes *step*, if its claim still holds."""
        values = {
            "id": step.id,
            "run": step.run,
            "handlers": handlers_text(step.handlers),
            "status": step.status,
            "due_at": step.due_at,
            "keep": step.keep,
            "finished": step.status != "pending",
            "now": now,
        }
        if step.lane is None:
            return Statement(self._sql["advance"], values)
        return Statement(self._sql["advance_to"], {**values, "new_lane": step.lane})

    def write(self, record: InboxRecord) -> Statement:
        """Return what writes the state of *record*, without a claim."""
        return self.get(
            "write",
            id=record.id,
            handlers=handlers_text(record.handlers),
            status=record.status,
            due_at=record.due_at,
            new_lane=record.lane,
            finished_at=record.finished_at,
        )

    def extend(self, runs: Sequence[str], lease: float, now: float) -> Statement:
        """Return what lets those claims of *runs* last longer that still hold."""
        columns = EVENTS.c
        held = (
            select(columns.id)
            .where(columns.run.is_not(None), columns.run.in_(list(runs)), columns.run_until > self._now(now))
            # A row that somebody else is writing is about to change hands: the others do not wait for it.
            .with_for_update(skip_locked=True)
        )
        later = self._now(now) + lease
        return statement(self.dialect, EVENTS.update().where(columns.id.in_(held)).values(run_until=later))

    def _now(self, now: float) -> Any:
        return func.date_part("epoch", func.clock_timestamp(), type_=Double()) if self._is_postgres else now

    def find(self, query: InboxQuery) -> Statement:
        """Return what reads the rows that *query* asks for."""
        columns = EVENTS.c
        names = ("status", "account", "livemode", "event_id", "object_id", "lane")
        conditions = [columns[name] == value for name in names if (value := getattr(query, name)) is not None]
        if query.types is not None:
            conditions.append(columns.type.in_(sorted(query.types)))
        if query.handler is not None:
            # The beginning of its state; a quotation mark inside of a text is never bare.
            name = json.dumps(query.handler) + ":{"
            look = func.strpos if self._is_postgres else func.instr
            conditions.append(look(columns.handlers, f"{{{name}") + look(columns.handlers, f",{name}") > 0)
        if query.received_after is not None:
            conditions.append(columns.received_at >= query.received_after)
        if query.received_before is not None:
            conditions.append(columns.received_at < query.received_before)
        wanted = select(*columns).where(columns.id > query.after, *conditions)
        if query.payloads:
            wanted = wanted.add_columns(PAYLOADS.c.payload).outerjoin(PAYLOADS, PAYLOADS.c.id == columns.id)
        return statement(self.dialect, wanted.order_by(columns.id).limit(max(0, min(query.limit, _MOST))))

    def lock_events(self, ids: Sequence[int]) -> Statement:
        """Return what keeps others from writing the events *ids*, or purging them, until the transaction ends. PostgreSQL only."""
        wanted = select(EVENTS.c.id).where(EVENTS.c.id.in_(list(ids))).order_by(EVENTS.c.id).with_for_update()
        return statement(self.dialect, wanted)

    def records(self, ids: Sequence[int]) -> Statement:
        """Return what reads the events *ids* with their payloads, for a change: nobody else writes them meanwhile."""
        columns = EVENTS.c
        wanted = (
            select(*columns, PAYLOADS.c.payload)
            .outerjoin(PAYLOADS, PAYLOADS.c.id == columns.id)
            .where(columns.id.in_(list(ids)))
            .order_by(columns.id)
            .with_for_update(of=EVENTS)
        )
        return statement(self.dialect, wanted)


@cache
def inbox_statements(dialect: str) -> InboxStatements:
    """Return the statements for *dialect*; they are written once in a process."""
    return InboxStatements(dialect)


@cache
def store_sqlite(count: int) -> str:
    """Return what stores *count* arrivals. For each statement the driver lets go of Python's lock, and may have to wait to get it back."""
    row = f"({', '.join('?' for _ in _BROUGHT)}, 'pending', '{{}}', 0)"
    rows = ", ".join([row] * count)
    return f"INSERT INTO stripe_events ({', '.join(_BROUGHT)}, status, handlers, attempts) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608 - names of ours


@cache
def keep_sqlite(count: int) -> str:
    """Return what stores *count* payloads."""
    rows = ", ".join(["(?, ?)"] * count)
    return f"INSERT INTO stripe_event_payloads (id, payload) VALUES {rows}"  # noqa: S608 - no names of others


brought: Callable[[Arrival], tuple[Any, ...]] = attrgetter(*_BROUGHT)
"""Return what an arrival brings, in the order of the columns."""


def handlers_text(handlers: Mapping[str, HandlerState]) -> str:
    """Return *handlers* as they are stored."""
    return _to_json(
        {name: {key: value for key in _STATE if (value := getattr(state, key)) is not None} for name, state in handlers.items()}
    )


def handlers_from(stored: str) -> dict[str, HandlerState]:
    """Return the states that *stored* holds. What a newer release added is left out."""
    if stored == "{}":
        return {}
    found: dict[str, dict[str, Any]] = json.loads(stored)
    return {name: HandlerState(**{key: state[key] for key in _STATE if key in state}) for name, state in found.items()}


def inbox_record(row: Sequence[Any]) -> InboxRecord:
    """Return the event that *row* holds, with its payload if that was read."""
    # By name and one by one: this is done for every event, and anything shorter takes three times as long.
    (
        id_, event_id, type_, account, livemode, lane, endpoint, status, received_at,
        api_version, created, object_id, handlers, due_at, attempts, run, run_until, finished_at, *payload,
    ) = row  # fmt: skip
    # SQLite keeps a whole number as an integer, and RETURNING hands it out as one.
    return InboxRecord(
        id=id_,
        event_id=event_id,
        type=type_,
        account=account,
        livemode=bool(livemode),
        lane=lane,
        endpoint=endpoint,
        status=status,
        received_at=float(received_at),
        payload=payload[0] if payload else None,
        api_version=api_version,
        created=None if created is None else float(created),
        object_id=object_id,
        handlers=handlers_from(handlers),
        due_at=None if due_at is None else float(due_at),
        attempts=attempts,
        run=run,
        run_until=None if run_until is None else float(run_until),
        finished_at=None if finished_at is None else float(finished_at),
    )
