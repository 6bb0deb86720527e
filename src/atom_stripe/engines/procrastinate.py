"""
Procrastinate as the alarm clock of an inbox on PostgreSQL. Installed with ``atom-stripe[procrastinate]``.

    engine = ProcrastinateEngine("postgresql://app@db/app")
    engine.upgrade()
    inbox = WebhookInbox(verifier, SqlInboxStore.from_url("postgresql://app@db/app"), engine=engine)

Its tables are Procrastinate's own, whose names cannot be chosen. If your program made them, they stay yours to bring up to date; the jobs of
the inbox are in a queue of their own.

Source: https://procrastinate.readthedocs.io
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import resources
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe.engines.connections import connect, connected, conninfo
from atom_stripe.engines.supervisor import Shift, Supervisor, first, heard

with require("procrastinate", extra="procrastinate"):
    from procrastinate import App, PsycopgConnector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from psycopg import Connection

    from atom_stripe.protocols.engines import EngineHealth, EngineSettings, LaneQueue
    from atom_stripe.protocols.inbox import InboxStore

_QUEUE = "atom-stripe"
_TASK = "atom_stripe.drain"
_INSTALL = "install"
_LOCK = 0x61746F6D_70726F63  # numbers of ours among PostgreSQL's advisory locks
_NUDGES = 0x61746F6D_6E756467
_LOOK = 0.5
_TEND = 5.0
_STOPPING = 1.0
_LEDGER = "stripe_procrastinate_migrations"

# One statement, and no lock: a lock of Procrastinate's would be its order, which is the store's affair.
_DEFER = """
SELECT procrastinate_defer_jobs_v1(array_agg(
    ROW(%(queue)s, %(task)s, 0, NULL, NULL, jsonb_build_object('lane', lane), NULL)::procrastinate_job_to_defer_v1))
FROM unnest(%(lanes)s::text[]) AS lane
HAVING count(*) > 0
"""
_KNOWN = """
SELECT DISTINCT args->>'lane' FROM procrastinate_jobs
WHERE queue_name = %(queue)s AND status = 'todo' AND args->>'lane' = ANY(%(lanes)s::text[])
"""
_STALLED = """
WITH stalled AS (
    DELETE FROM procrastinate_jobs WHERE id IN (
        SELECT job.id FROM procrastinate_jobs AS job LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
        WHERE job.queue_name = %(queue)s AND job.status = 'doing'
        AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(seconds)s))
        FOR UPDATE OF job SKIP LOCKED)
    RETURNING args->>'lane' AS lane)
SELECT DISTINCT lane FROM stalled
"""
_FINISHED = (
    "DELETE FROM procrastinate_jobs WHERE queue_name = %(queue)s AND status IN ('failed', 'aborted', 'cancelled', 'succeeded')"
)


class ProcrastinateEngine:
    """
    An ``Engine`` on Procrastinate. Threads share it. It connects when it is used, and keeps connections while it runs.

    *url*: the database of the inbox, ``postgresql://…``; not through PgBouncer's transaction pooling, which knows no ``LISTEN``. ``wake`` needs
    no connection but the store's.

    Raises:
        ConfigurationError: *url* is no such URL.
        MissingExtraError: Procrastinate is not installed.
    """

    def __init__(self, url: str) -> None:
        self._info = conninfo(url)
        self._supervisor = Supervisor(self)

    def __repr__(self) -> str:
        return "ProcrastinateEngine()"

    def wake(self, connection: Any, lanes: Sequence[str], /) -> None:
        """
        Note, inside the open transaction of *connection*, that there is something to do in *lanes*.

        *connection*: a ``psycopg.Connection`` in a transaction. Its errors go through, and nothing is committed here.
        """
        self._defer(connection, lanes)

    def nudge(self, lanes: Sequence[str], /) -> int:
        """
        Have *lanes* looked at soon, outside of any transaction: what an operator replayed, or the sweeper found.

        Returns how many of them had no alarm yet.

        Raises:
            StoreError: The database is away, or refused.
        """
        with connected(self._info, "wake lanes") as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_NUDGES,))
            rows = connection.execute(_KNOWN, {"queue": _QUEUE, "lanes": list(lanes)}).fetchall()
            known = {row[0] for row in rows}
            new = [lane for lane in dict.fromkeys(lanes) if lane not in known]
            self._defer(connection, new)
            return len(new)

    @staticmethod
    def _defer(connection: Connection[Any], lanes: Sequence[str]) -> None:
        if lanes:
            connection.execute(_DEFER, {"queue": _QUEUE, "task": _TASK, "lanes": list(lanes)})

    def run(self, lanes: LaneQueue, stop: Event, store: InboxStore, settings: EngineSettings, /) -> None:
        """
        Tell *lanes* what is to be drained until *stop* is set; then wait for the jobs that have begun, for as long as the grace lasts.

        It outlives restarts of the database. *store*: where the sweeper looks for what was forgotten. Blocks.

        Raises:
            ConfigurationError: It is running already, in this process.
        """
        self._supervisor.run(lanes, stop, store, settings)

    async def serve(self, shift: Shift) -> None:
        """Take jobs until the shift ends, or a connection is lost."""
        # Procrastinate's own listener does not tell when its connection is lost, so another one of the same server watches.
        async with await connect(self._info) as watching:
            connector = PsycopgConnector(
                conninfo=self._info, min_size=1, max_size=4, timeout=5.0, kwargs={"prepare_threshold": None}
            )
            app = App(connector=connector)

            @app.task(name=_TASK, queue=_QUEUE)
            async def drain(lane: str) -> None:
                if not await shift.drain(lane):
                    await self._give_back(lane)

            async def work() -> None:
                worker = asyncio.ensure_future(
                    app.run_worker_async(
                        queues=[_QUEUE],
                        name=_QUEUE,
                        concurrency=max(2, shift.settings.workers),
                        wait=True,
                        fetch_job_polling_interval=_LOOK,
                        delete_jobs="successful",
                        install_signal_handlers=False,
                        listen_notify=True,
                        update_heartbeat_interval=shift.settings.heartbeat_timeout / 3,
                        stalled_worker_timeout=shift.settings.heartbeat_timeout,
                    )
                )
                leaving = asyncio.ensure_future(shift.leaving.wait())
                try:
                    await asyncio.wait({worker, leaving}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    leaving.cancel()
                    worker.add_done_callback(heard)
                    # It takes no more, and waits for what has begun; those end when the shift is over.
                    worker.cancel()
                with suppress(asyncio.CancelledError):
                    await worker

            async def listen() -> None:
                await watching.execute("LISTEN stripe_engine")
                shift.listening = True
                try:
                    async for _ in watching.notifies():
                        pass
                finally:
                    shift.listening = False
                    shift.over.set()

            await connector.open_async()
            try:
                await first(work(), listen(), self._tend_often(shift.settings.heartbeat_timeout))
            finally:
                with suppress(Exception):
                    await asyncio.wait_for(connector.close_async(), _STOPPING)

    async def _give_back(self, lane: str) -> None:
        """Put another job in the place of one that this process does not finish."""
        # If the database is away, the sweeper will find the lane.
        with suppress(Exception):
            async with await connect(self._info) as connection:
                await connection.execute(_DEFER, {"queue": _QUEUE, "task": _TASK, "lanes": [lane]})

    async def _tend_often(self, timeout: float) -> None:
        while True:
            await asyncio.to_thread(self._free_stalled, timeout)
            await asyncio.sleep(min(_TEND, timeout / 2))

    def _free_stalled(self, timeout: float) -> None:
        """Give the jobs of dead workers to others. Procrastinate leaves it to its users."""
        with connected(self._info, "free stalled jobs") as connection, connection.transaction():
            parameters = {"queue": _QUEUE, "seconds": timeout}
            rows = connection.execute(_STALLED, parameters).fetchall()
            self._defer(connection, [row[0] for row in rows if row[0] is not None])

    def tend(self) -> None:
        """Delete what is left of jobs that failed: what they were to do, the store knows."""
        with connected(self._info, "delete finished jobs") as connection:
            connection.execute(_FINISHED, {"queue": _QUEUE})

    def upgrade(self, url: str | None = None, /) -> list[str]:
        """
        Bring Procrastinate's tables up to date, and return the steps that this took; none if they were. Several processes may call at once.

        Procrastinate does not note which steps were taken; this does, in a table ``stripe_procrastinate_migrations``. Tables that were there without
        it are somebody else's, and are left alone. *url*: connect with this one, for instance as a user who may create tables.

        Raises:
            StoreError: The database is away, or refused. Nothing was changed.
        """
        with self._opened(url, "upgrade its tables") as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            steps = _steps(connection)
            if steps:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {_LEDGER} (name text PRIMARY KEY, at timestamptz DEFAULT now())".encode()
                )
            for step in steps:
                connection.execute((_schema() if step == _INSTALL else _migrations()[step]).encode())
            done = list(_migrations()) if _INSTALL in steps else steps
            for name in done:
                connection.execute(f"INSERT INTO {_LEDGER} (name) VALUES (%s)".encode(), (name,))  # noqa: S608 - a name of ours
            return steps

    def pending(self, url: str | None = None, /) -> list[str]:
        """
        Return the steps that ``upgrade`` would take; ``["install"]`` if there are no tables yet.

        Raises:
            StoreError: The database is away, or refused.
        """
        with self._opened(url, "look at its tables") as connection:
            return _steps(connection)

    def _opened(self, url: str | None, doing: str) -> Any:
        return connected(self._info if url is None else conninfo(url), doing)

    def health(self) -> EngineHealth:
        """Return how the engine is doing. It asks the database, for two seconds at most."""
        query = "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = %s AND status IN ('todo', 'doing')"
        return self._supervisor.health(self._info, query, _QUEUE)


def _steps(connection: Connection[Any]) -> list[str]:
    row = connection.execute("SELECT to_regclass('procrastinate_jobs'), to_regclass(%s)", (_LEDGER,)).fetchone()
    tables, ledger = row or (None, None)
    if tables is None:
        return [_INSTALL]
    if ledger is None:
        return []
    taken = {name for (name,) in connection.execute(f"SELECT name FROM {_LEDGER}".encode())}  # noqa: S608 - a name of ours
    return [name for name in _migrations() if name not in taken]


def _schema() -> str:
    return (resources.files("procrastinate.sql") / "schema.sql").read_text()


def _migrations() -> dict[str, str]:
    """Return Procrastinate's steps in their order."""
    folder = resources.files("procrastinate.sql") / "migrations"
    return {
        file.name: file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name) if file.name.endswith(".sql")
    }
