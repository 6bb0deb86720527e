"""
Several events in one transaction of SQLite's: their steps are written, and the heads of other lanes claimed.

Nobody else writes between the first statement and the last, so what was read is what is written to.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from atom_stripe.protocols import InboxRecord, Nothing
from atom_stripe.stores._sql.inbox_statements import COLUMNS, inbox_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atom_stripe.protocols import Step
    from atom_stripe.stores._sql.inbox_statements import InboxStatements
    from atom_stripe.stores._sql.sessions import Row, Session

Found: TypeAlias = "InboxRecord | Nothing | None"

# What a claim changes, as it will be.
_CLAIMED = {"attempts": "e.attempts + 1", "run": "w.run", "run_until": "?"}
_CLAIM = "UPDATE stripe_events SET attempts = attempts + 1, run = ?, run_until = ? WHERE id = ?"


@cache
def _heads(count: int) -> str:
    """Return what reads the heads of *count* lanes as claims would leave them, and until when one of their events is claimed."""
    columns = ", ".join(_CLAIMED.get(name, f"e.{name}") for name in COLUMNS)
    return f"""
        WITH wanted (lane, run) AS (VALUES {", ".join(["(?, ?)"] * count)})
        SELECT
            w.lane,
            (SELECT max(h.run_until) FROM stripe_events AS h WHERE h.lane = w.lane AND h.run IS NOT NULL AND h.run_until > ?),
            {columns},
            p.payload
        FROM wanted AS w
        LEFT JOIN stripe_events AS e ON e.id = (
            SELECT i.id FROM stripe_events AS i WHERE i.lane = w.lane AND i.status = 'pending' ORDER BY i.id LIMIT 1
        )
        LEFT JOIN stripe_event_payloads AS p ON p.id = e.id
    """  # noqa: S608 - only names of columns are put in


def together(
    session: Session,
    statements: InboxStatements,
    steps: Sequence[Step],
    claims: Mapping[str, str],
    *,
    lease: float,
    fits: Callable[[str], bool],
) -> tuple[Sequence[Step], Mapping[str, Found]]:
    """Do what ``BundlingInboxStore.together`` says in the transaction of *session*."""
    now = time.time()
    lost = [step for step in steps if not session.write(statements.advance(step, now))]
    if not claims:
        return lost, {}
    until = now + lease
    names = [text for claim in claims.items() for text in claim]
    rows = session.connection.execute(_heads(len(claims)), (*names, now, until)).fetchall()
    found = {row[0]: _found(row, now, fits) for row in rows}
    claimed = [(record.run, until, record.id) for record in found.values() if isinstance(record, InboxRecord)]
    session.connection.executemany(_CLAIM, claimed)
    return lost, found


def _found(row: Row, now: float, fits: Callable[[str], bool]) -> Found:
    """Return the head in *row* if it is to be claimed, or what stands in its place."""
    held, values = row[1], row[2:]
    if held is not None:
        return Nothing(held, now)
    if values[0] is None:
        return Nothing(None, now)
    record = inbox_record(values)
    if record.due_at is not None and record.due_at > now:
        return Nothing(record.due_at, now)
    fresh = record.attempts == 1 and not record.handlers and record.due_at is None
    return record if fresh and fits(record.type) else None
