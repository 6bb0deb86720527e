"""
What a user may plug in, each as a small protocol with its promises in words, and the values that pass through it.

A store keeps rows and compares what it is told to compare; it decides nothing. What a row means, and when it may change, is decided once, in
``_engine``. ``atom_stripe.testing.conformance`` and ``inbox_conformance`` prove a store of your own.
"""

from __future__ import annotations

from atom_stripe.protocols.engines import Engine, EngineHealth, EngineSettings, LaneQueue, SqlWake, Wake
from atom_stripe.protocols.inbox import (
    EVENT_STATUSES,
    Appended,
    Arrival,
    AuditEntry,
    BundlingInboxStore,
    Delivery,
    DeliveryOutcome,
    EventStatus,
    HandlerState,
    HandlerStatus,
    InboxCounts,
    InboxQuery,
    InboxRecord,
    InboxStore,
    Nothing,
    Refusal,
    Step,
    Waiting,
)
from atom_stripe.protocols.tokens import (
    CONNECTION_STATES,
    PROFILES,
    AsyncKeyProvider,
    AsyncTokenStore,
    Authorization,
    AuthorizationState,
    ConnectionState,
    DataKey,
    KeyProvider,
    Profile,
    Reference,
    TokenQuery,
    TokenRecord,
    TokenStore,
)

__all__ = [
    "CONNECTION_STATES",
    "EVENT_STATUSES",
    "PROFILES",
    "Appended",
    "Arrival",
    "AsyncKeyProvider",
    "AsyncTokenStore",
    "AuditEntry",
    "Authorization",
    "AuthorizationState",
    "BundlingInboxStore",
    "ConnectionState",
    "DataKey",
    "Delivery",
    "DeliveryOutcome",
    "Engine",
    "EngineHealth",
    "EngineSettings",
    "EventStatus",
    "HandlerState",
    "HandlerStatus",
    "InboxCounts",
    "InboxQuery",
    "InboxRecord",
    "InboxStore",
    "KeyProvider",
    "LaneQueue",
    "Nothing",
    "Profile",
    "Reference",
    "Refusal",
    "SqlWake",
    "Step",
    "TokenQuery",
    "TokenRecord",
    "TokenStore",
    "Waiting",
    "Wake",
]
