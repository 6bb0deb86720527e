"""Alarm clocks for the inbox: what tells workers, on any number of machines, which lane to drain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from atom_stripe.protocols.inbox import InboxStore, Nothing


class Drain(Protocol):
    """
    Handles what is due in a lane. Called in many threads, for one lane in one of them at a time.

    Returns what the store said at last: that the lane is empty, or when to come back. A moment that is not after *now* means at once: the lane has
    more, and others have their turn first.
    """

    def __call__(self, lane: str, /) -> Nothing:
        """Drain *lane*."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """
    How an engine is doing in this process.

    *running*: ``run()`` is. *listening*: it hears at once of what is stored; otherwise it looks about once a second, or waits for its database.
    *restarts*: how often it had to begin anew. *error*: the kind of what went wrong last. *waiting*: jobs in its table, ``None`` if the
    database did not say. *recovered*: lanes that its sweeper found with work and without an alarm.
    """

    running: bool
    listening: bool
    restarts: int
    error: str | None
    waiting: int | None
    recovered: int


class Engine(Protocol):
    """
    Tells workers which lanes to drain. It knows no events: those are in the store, and a wake-up that is lost only makes an event late.

    Promises: a lane that was given to ``wake`` in a transaction that was committed is drained by some process that is in ``run()``, after the
    commit, at least once; one of a transaction that was rolled back is forgotten. What is lost on the way, with a job, a notification or a
    worker, the sweeper finds in the store.
    """

    def wake(self, connection: Any, lanes: Sequence[str], /) -> None:
        """
        Note, inside the open transaction of *connection*, that there is something to do in *lanes*.

        *connection*: a ``psycopg.Connection`` in a transaction. Nothing is committed here, and the errors are psycopg's: this is what
        ``SqlInboxStore(…, wake=engine.wake)`` calls within ``append``.
        """
        ...

    def run(self, drain: Drain, stop: Event, store: InboxStore, /) -> None:
        """
        Drain lanes until *stop* is set; then wait for those that have begun, for as long as the grace lasts.

        It outlives restarts of the database. *store*: where the sweeper looks for what was forgotten. Blocks; call it in a thread without
        an event loop.

        Raises:
            ConfigurationError: It is running already, in this process.
        """
        ...

    def upgrade(self, url: str | None = None, /) -> list[str]:
        """
        Bring the engine's own tables up to date, and return the steps that this took; none if they were. Several processes may call at once.

        *url*: connect with this one, for instance as a user who may create tables.

        Raises:
            StoreError: The database is away, or refused.
        """
        ...

    def pending(self, url: str | None = None, /) -> list[str]:
        """
        Return the steps that ``upgrade`` would take.

        Raises:
            StoreError: The database is away, or refused.
        """
        ...

    def health(self) -> EngineHealth:
        """Return how the engine is doing. It asks the database, for two seconds at most."""
        ...
