"""
PgQueuer as the alarm clock of an inbox on PostgreSQL. Installed with ``atom-stripe[postgres]``.

    engine = PgQueuerEngine("postgresql://app@db/app")
    engine.upgrade()
    inbox = WebhookInbox(verifier, SqlInboxStore.from_url("postgresql://app@db/app"), engine=engine)

Its tables are PgQueuer's own under names that begin with ``stripe_``, so they stand beside those of a PgQueuer that you use for other things.

Source: https://pgqueuer.readthedocs.io
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from atom_stripe._extras import require
from atom_stripe.engines.connections import connect, connected, conninfo, failure
from atom_stripe.engines.supervisor import Shift, Supervisor, first, in_loop

with require("pgqueuer", extra="postgres"):
    from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
    from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
    from pgqueuer.adapters.persistence.queries import Queries, SyncQueries
    from pgqueuer.core.qm import QueueManager
    from pgqueuer.domain.errors import RetryRequested
    from pgqueuer.domain.settings import DBSettings, Durability
    from pgqueuer.domain.types import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from pgqueuer.core.tm import TaskManager
    from pgqueuer.domain.models import Job
    from psycopg import AsyncConnection, Connection

    from atom_stripe.protocols.engines import EngineHealth, EngineSettings, LaneQueue
    from atom_stripe.protocols.inbox import InboxStore

_ENTRYPOINT = "drain"
_INSTALL = "install"
_LOCK = 0x61746F6D_70677175  # a number of ours among PostgreSQL's advisory locks
_LOOK = timedelta(seconds=1)
_BATCH = 10
_KEPT = "1 hour"  # of PgQueuer's log, which nobody reads but its own tools
_AT_ONCE = 10_000

# What `wake` does, as part of another statement, but for the entry in PgQueuer's log that a job was queued: it costs as much as the job, and
# nobody reads it but PgQueuer's statistics.
_WAKING = """
    jobs AS (
        INSERT INTO {queue} (priority, entrypoint, payload, headers, status)
        SELECT 0, '{entrypoint}', convert_to(lane, 'UTF8'), 'null', 'queued' FROM woken ORDER BY id
    )
"""


class PgQueuerEngine:
    """
    An ``Engine`` on PgQueuer. Threads share it. It connects when it is used, and while it runs it keeps two connections for itself.

    *url*: the database of the inbox, ``postgresql://…``; not through PgBouncer's transaction pooling, which knows no ``LISTEN``. ``wake`` needs
    no connection but the store's.

    Raises:
        ConfigurationError: *url* is no such URL.
        MissingExtraError: PgQueuer or psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        self._info = conninfo(url)
        self._names = _names()
        self._queue = QueryQueueBuilder(settings=self._names)
        self.wake_sql = _WAKING.format(queue=self._names.queue_table, entrypoint=_ENTRYPOINT)
        self._supervisor = Supervisor(self)

    def __repr__(self) -> str:
        return "PgQueuerEngine()"

    def wake(self, connection: Any, lanes: Sequence[str], /) -> None:
        """
        Note, inside the open transaction of *connection*, that there is something to do in *lanes*.

        *connection*: a ``psycopg.Connection`` in a transaction. Its errors go through, and nothing is committed here.
        """
        # No key against duplicates: a job that is being done already would swallow this one, and it may not see the new event any more.
        self._enqueue(connection, lanes, [None] * len(lanes))

    def nudge(self, lanes: Sequence[str], /) -> int:
        """
        Have *lanes* looked at soon, outside of any transaction: what an operator replayed, or the sweeper found.

        Returns how many of them had no alarm yet.

        Raises:
            StoreError: The database is away, or refused.
        """
        query = f"SELECT payload FROM {self._names.queue_table} WHERE status = 'queued' AND payload = ANY(%s::bytea[])"  # noqa: S608 - a name of ours
        with connected(self._info, "wake lanes") as connection:
            rows = connection.execute(query.encode(), ([lane.encode() for lane in lanes],)).fetchall()
            known = {bytes(row[0]).decode() for row in rows}
            new = [lane for lane in dict.fromkeys(lanes) if lane not in known]
            # The keys are for two that look at the same time.
            return self._enqueue(connection, new, [f"sweep:{lane}" for lane in new])

    def _enqueue(self, connection: Connection[Any], lanes: Sequence[str], keys: Sequence[str | None]) -> int:
        if not lanes:
            return 0
        count = len(lanes)
        ids = SyncQueries(_SyncDriver(connection), qbq=self._queue).enqueue(
            [_ENTRYPOINT] * count,
            [lane.encode() for lane in lanes],
            [0] * count,
            dedupe_key=list(keys),
            on_conflict="skip",
        )
        return sum(id_ is not None for id_ in ids)

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
        async with await connect(self._info) as working, await connect(self._info) as listening:
            driver = _Driver(working, listening)
            manager = QueueManager(self._queries(driver), channel=Channel(self._names.channel))

            @manager.entrypoint(_ENTRYPOINT)
            async def drain(job: Job) -> None:
                if not await shift.drain((job.payload or b"").decode()):
                    raise RetryRequested(timedelta(0))

            async def leave() -> None:
                await shift.leaving.wait()
                manager.shutdown.set()
                # The end is that of the manager, when its jobs are done.
                await asyncio.Event().wait()

            async def listen() -> None:
                await driver.established.wait()
                shift.listening = True
                await driver.lost.wait()
                shift.listening = False
                shift.over.set()
                # So that jobs get away from here; on what is left of the connections they are given back.
                await asyncio.sleep(_LOOK.total_seconds())
                raise driver.error or ConnectionError

            await first(
                manager.run(
                    batch_size=_BATCH,
                    dequeue_timeout=_LOOK,
                    max_concurrent_tasks=max(2 * _BATCH, 2 * shift.settings.workers),
                    shutdown_on_listener_failure=True,
                    heartbeat_timeout=timedelta(seconds=shift.settings.heartbeat_timeout),
                    log_aggregation_interval=timedelta(0),
                ),
                leave(),
                listen(),
            )

    def tend(self) -> None:
        """Delete old entries of PgQueuer's log, which grows by several for each job."""
        log = self._names.queue_table_log
        with connected(self._info, "prune its log") as connection:
            while True:
                statement = (
                    f"DELETE FROM {log} WHERE id IN "  # noqa: S608 - a name of ours
                    f"(SELECT id FROM {log} WHERE created < now() - interval '{_KEPT}' ORDER BY created LIMIT {_AT_ONCE})"
                )
                if connection.execute(statement.encode()).rowcount < _AT_ONCE:
                    return

    def upgrade(self, url: str | None = None, /) -> list[str]:
        """
        Bring PgQueuer's tables up to date, and return the statements that this took; none if they were. Several processes may call at once.

        *url*: connect with this one, for instance as a user who may create tables. Steps of PgQueuer's are no one transaction: called again after a
        failure, it goes on.

        Raises:
            StoreError: The database is away, or refused.
        """

        async def work(queries: Queries) -> list[str]:
            # Of the session: some of the statements cannot share a transaction. It ends with the connection.
            await queries.driver.execute("SELECT pg_advisory_lock($1)", _LOCK)
            done: list[str] = []
            if not await queries.schema_is_installed():
                await queries.install(create_schema=False)
                done.append(_INSTALL)
            return [*done, *(await queries.apply_upgrade()).statements]

        return self._with_queries(url, work, "upgrade its tables")

    def pending(self, url: str | None = None, /) -> list[str]:
        """
        Return the statements that ``upgrade`` would run; ``["install"]`` if there are no tables yet.

        Raises:
            StoreError: The database is away, or refused.
        """

        async def work(queries: Queries) -> list[str]:
            if not await queries.schema_is_installed():
                return [_INSTALL]
            return list((await queries.plan_upgrade()).statements)

        return self._with_queries(url, work, "look at its tables")

    def health(self) -> EngineHealth:
        """Return how the engine is doing. It asks the database, for two seconds at most."""
        query = f"SELECT count(*) FROM {self._names.queue_table}"  # noqa: S608 - a name of ours
        return self._supervisor.health(self._info, query)

    def _queries(self, driver: PsycopgDriver | _Driver) -> Queries:
        names = self._names
        return Queries(
            cast("Any", driver),
            qbe=QueryBuilderEnvironment(settings=names),
            qbq=self._queue,
            qbs=QuerySchedulerBuilder(settings=names),
        )

    def _with_queries(self, url: str | None, work: Callable[[Queries], Any], doing: str) -> list[str]:
        import psycopg

        info = self._info if url is None else conninfo(url)

        async def go() -> list[str]:
            async with await connect(info) as connection:
                found: list[str] = await work(self._queries(PsycopgDriver(connection)))
                return found

        try:
            return in_loop(go)
        except psycopg.Error as error:
            failed = failure(error, doing)
        raise failed


def _names() -> DBSettings:
    """Return the names of PgQueuer's objects, all of them: what is left out it takes from variables such as ``CHANNEL``, whoever set them."""
    return DBSettings(
        prefix="stripe_",
        db_schema=None,
        channel=Channel("stripe_ch_pgqueuer"),
        function="stripe_fn_pgqueuer_changed",
        statistics_table="stripe_pgqueuer_statistics",
        queue_status_type="stripe_pgqueuer_status",
        queue_table="stripe_pgqueuer",
        queue_table_log="stripe_pgqueuer_log",
        trigger="stripe_tg_pgqueuer_changed",
        schedules_table="stripe_pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=True,
    )


class _SyncDriver:
    """Runs PgQueuer's statements on a connection that is in somebody's transaction. Its own driver refuses one of these."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        from psycopg import RawCursor
        from psycopg.rows import dict_row

        with RawCursor(self._connection, row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), args or None).fetchall()


class _Driver:
    """
    PgQueuer's driver over two connections: on one of its own, a statement would wait for the listener, up to a second.

    *established*: somebody listens. *lost*: one of the two is gone, because of *error*.
    """

    def __init__(self, working: AsyncConnection[Any], listening: AsyncConnection[Any]) -> None:
        self.established = asyncio.Event()
        self.lost = asyncio.Event()
        self.error: BaseException | None = None
        self._connection = working
        self._working = PsycopgDriver(working)
        self._listening = _Listener(listening, self)

    @property
    def shutdown(self) -> asyncio.Event:
        return self._listening.shutdown

    @property
    def tm(self) -> TaskManager:
        return self._listening.tm

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        try:
            return await self._working.fetch(query, *args)
        except Exception as error:
            self._check(error)
            raise

    async def execute(self, query: str, *args: object) -> str:
        try:
            return await self._working.execute(query, *args)
        except Exception as error:
            self._check(error)
            raise

    def _check(self, error: Exception) -> None:
        if self._connection.closed:
            self.lose(error)

    def lose(self, error: Exception) -> None:
        """Note that a connection is gone."""
        self.error = self.error or error
        self.lost.set()

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: Callable[[str | bytes | bytearray], None]) -> None:
        await self._listening.add_listener(channel, callback)
        self.established.set()

    async def __aenter__(self) -> Self:
        await self._listening.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._listening.__aexit__(*error)


class _Listener(PsycopgDriver):
    """Says when it hears no more."""

    def __init__(self, connection: AsyncConnection[Any], driver: _Driver) -> None:
        super().__init__(connection)
        self._driver = driver

    async def watch_notifies(self) -> None:
        try:
            await super().watch_notifies()
        except Exception as error:  # noqa: BLE001 - it is told to whoever waits for it
            self._driver.lose(error)
