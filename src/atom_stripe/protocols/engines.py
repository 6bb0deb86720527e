"""Alarm clocks for the inbox: what tells workers, on any number of machines, which lane to drain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future
    from threading import Event

    from atom_stripe.protocols.inbox import InboxStore


NO_ENGINE = "an engine needs an inbox on PostgreSQL; elsewhere workers look for events by themselves"

Wake = Callable[[Any, Sequence[str]], object]
"""
What a store calls with the driver's connection and the lanes in which there is something new to do, inside the transaction that stores it. If it
raises, nothing is stored.
"""


@dataclass(frozen=True, slots=True)
class SqlWake:
    """
    A ``Wake`` that can also be said in SQL, so that a store on the same PostgreSQL needs one statement for an event and its wake-up.

    *call*: does the same where it cannot. *sql*: common table expressions, separated by commas, that do it for the rows of ``woken(lane, id)``:
    each lane once, with the lowest id of its new events. The store's statement goes on behind them.
    """

    call: Wake
    sql: str

    def __call__(self, connection: Any, lanes: Sequence[str], /) -> object:
        """Do it on *connection*."""
        return self.call(connection, lanes)


class LaneQueue(Protocol):
    """The lanes that this process is going to drain, a few at a time and each in one thread. All of it may be called from any thread."""

    def job(self, lane: str, /) -> Future[bool]:
        """
        Have *lane* drained for a job of the engine's. The result says when the job is done; false: it should go to another process.

        Of the jobs for one lane, one is kept until nothing is left to do there: if this process dies, it tells another one. The others are done at
        once, so that a busy lane does not use up what a process may hold. Nobody can cancel what has begun.
        """
        ...

    def offer(self, lane: str, /) -> None:
        """Have *lane* drained, without a job."""
        ...

    def now(self) -> float:
        """Return the time of the store, as far as it is known from its answers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """
    What a worker asks of its engine. All times are in seconds.

    *workers*: how many lanes the process drains at once. *sweep_interval*: how often forgotten events are looked for. *heartbeat_timeout*: after
    how long without a sign of life the jobs of a process go to others. *grace*: how long stopping waits for jobs that have begun.
    """

    workers: int = 8
    sweep_interval: float = 30.0
    heartbeat_timeout: float = 30.0
    grace: float = 25.0


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

        *connection*: a ``psycopg.Connection`` in a transaction. Nothing is committed here, and the errors are psycopg's. This is what the inbox
        passes to its store's ``append``. An engine that can say it in SQL has a text ``wake_sql`` besides: see ``SqlWake``, which is passed then.
        """
        ...

    def nudge(self, lanes: Sequence[str], /) -> int:
        """
        Have *lanes* looked at soon, outside of any transaction: what an operator replayed, or the sweeper found.

        Returns how many of them had no alarm yet.

        Raises:
            StoreError: The database is away, or refused.
        """
        ...

    def run(self, lanes: LaneQueue, stop: Event, store: InboxStore, settings: EngineSettings, /) -> None:
        """
        Tell *lanes* what is to be drained until *stop* is set; then wait for the jobs that have begun, for as long as the grace lasts.

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
