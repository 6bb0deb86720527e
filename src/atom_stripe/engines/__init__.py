"""
Engines for an inbox on several machines: ``pgqueuer.PgQueuerEngine``, or ``procrastinate.ProcrastinateEngine``, both on the PostgreSQL of the inbox.

    engine = PgQueuerEngine("postgresql://app@db/app")
    inbox = WebhookInbox(verifier, SqlInboxStore.from_url("postgresql://app@db/app"), engine=engine)

The inbox's table is the truth; an engine is its alarm clock. A job says "drain this lane" and no more, in the transaction that stored the event.
``sweeper`` finds what was forgotten, ``supervisor`` keeps an engine going through restarts of the database.
"""

from __future__ import annotations

from atom_stripe.protocols.engines import Engine, EngineHealth, EngineSettings, LaneQueue

__all__ = ["Engine", "EngineHealth", "EngineSettings", "LaneQueue"]
