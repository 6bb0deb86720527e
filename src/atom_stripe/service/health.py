"""
How a service is: what ``/health`` and ``/health/detailed`` answer with.

Every check has its time, and goes on alone when that is over: neither a database nor a Stripe that hangs holds an answer back. Whoever asks meanwhile
waits for the same check. No error's own words are told, only ours.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from atom_stripe._engine.connect.flights import Flights
from atom_stripe._engine.connect.ports import NativeSpawn, thread_spawn
from atom_stripe._engine.ports import blocking_sleep, native_sleep
from atom_stripe.errors import StoreError
from atom_stripe.protocols import Reference, TokenQuery
from atom_stripe.service import health_stripe
from atom_stripe.service.exchange import settled
from atom_stripe.service.findings import Finding, Findings, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from atom_stripe.service.service import Service
    from atom_stripe.stores._sql.database import Database

LOG = logging.getLogger(__name__)

# Seconds. A load balancer asks often, and does not wait long.
_PATIENCE = 2.0
_PATIENCE_DETAILED = 5.0
_MOST_COUNTED = 100
_NOBODY = "atom-stripe health"


@dataclass(frozen=True, slots=True)
class _Check:
    """One or several checks that are made together. *late*: what it means if they do not end. *kept*: whether the outcome is believed for a while."""

    names: tuple[str, ...]
    work: Callable[[Watch], Awaitable[Findings]]
    late: Status = "down"
    kept: bool = False


class Watch:
    """The checks of one service."""

    def __init__(self, service: Service) -> None:
        self.parts = service.parts
        self.config = service.config
        self.asynchronous = service.asynchronous
        # Where the limits are counted.
        self.limits: Any = service.limiter.storage
        self._memory = service.memory
        spawn = NativeSpawn() if self.asynchronous else thread_spawn
        self._flights = Flights(self, spawn, native_sleep if self.asynchronous else blocking_sleep, time.monotonic)

    async def ready(self) -> Status:
        """Return whether this process can do its work, without a look at Stripe: that is away for all processes alike."""
        checks = [_TAKES] if self.parts.inbox is not None else []
        checks += [_TOKEN_STORE] if self.parts.oauth is not None else []
        found = await self._found(checks, _PATIENCE)
        if self.parts.inbox is not None and found["takes"].status != "down" and worst(found) == "down":
            # Deliveries are taken, and would not be if a load balancer were told otherwise.
            return "degraded"
        return worst(found)

    async def examined(self) -> Findings:
        """Return what every check finds."""
        found = await self._found(_CHECKS, _PATIENCE_DETAILED)
        return {name: found[name] for check in _CHECKS for name in check.names}

    async def measured(self) -> None:
        """Have the inbox tell its metrics how full it is: a process without a worker would never do so, and be silent when all workers are dead."""
        if self.parts.inbox is not None:
            await self._found([_MEASURED], _PATIENCE)

    @property
    def patience(self) -> float:
        """How many seconds a check has at most."""
        return _PATIENCE_DETAILED

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what *function* returns, which may wait for a store: the sync colour is in a thread of its own here already."""
        if not self.asynchronous:
            return function(*arguments)
        # A program that ends does not wait for a database that hangs.
        return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)

    async def _found(self, checks: Iterable[_Check], patience: float) -> Findings:
        until = time.monotonic() + patience
        begun = [(check, self._flights.start(check.names, lambda check=check: self._made(check))) for check in checks]  # type: ignore[misc]
        found: Findings = {}
        for check, flight in begun:
            try:
                made = await self._flights.wait(flight, max(0.0, until - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - a check that cannot be made is an answer, too
                made = _failed(check, error)
            late = Finding(check.late, f"no answer within {patience:g} s")
            found |= made if made is not None else dict.fromkeys(check.names, late)
        return found

    async def _made(self, check: _Check) -> Findings:
        key = f"health {check.names[0]}"
        if check.kept:
            kept: tuple[float, Findings] | None = self._memory.get(key)
            if kept is not None and time.monotonic() - kept[0] < self.config.health_interval:
                return kept[1]
        try:
            made = await check.work(self)
        except Exception as error:  # noqa: BLE001 - whatever a store of the user's raises
            return _failed(check, error)
        if check.kept:
            self._memory[key] = time.monotonic(), made
        return made


def watch(service: Service) -> Watch:
    """Return the one ``Watch`` of *service*."""
    found: Watch | None = service.memory.get("health")
    return found or service.memory.setdefault("health", Watch(service))


def worst(found: Findings) -> Status:
    """Return the worst status among *found*: what is off is no worse than what works."""
    statuses = {one.status for one in found.values()}
    return "down" if "down" in statuses else "degraded" if "degraded" in statuses else "ok"


def _failed(check: _Check, error: Exception) -> Findings:
    LOG.warning("the health check %s failed: %s", check.names[0], error if isinstance(error, StoreError) else type(error).__name__)
    detail = "the store does not answer, or refuses" if isinstance(error, StoreError) else f"failed with {type(error).__name__}"
    return dict.fromkeys(check.names, Finding("down", detail))


# The stores.


async def _database(watch: Watch) -> Findings:
    oauth, inbox = watch.parts.oauth, watch.parts.inbox
    stores = ([] if inbox is None else [inbox.store]) + ([] if oauth is None else [_token_store(oauth)])
    databases = {id(database.engine): database for database in map(_sql_database, stores) if database is not None}
    if not databases:
        nothing = Finding("off", "no store is in a SQL database")
        return {"database": nothing, "migrations": nothing}
    found: Findings = {}
    for database in databases.values():
        reached, migrations = await watch.call(_tables, database)
        for name, one in (("database", reached), ("migrations", migrations)):
            found[name] = max(found.get(name, one), one, key=lambda finding: _ORDER.index(finding.status))
    return found


def _tables(database: Database) -> tuple[Finding, Finding]:
    from atom_stripe.stores import sql

    with database.lent() as engine:
        try:
            revision = sql.current(engine)
        except StoreError:
            return Finding("down", "the database does not answer, or refuses"), Finding("off", "the database did not say")
        reached = Finding("ok", "the database answers")
        try:
            pending = sql.pending(engine)
        except StoreError:
            # As it is for a while during every deployment.
            return reached, Finding("degraded", "the tables are of a newer release", {"revision": revision})
    facts = {"revision": revision, "pending": len(pending)}
    if pending:
        return reached, Finding("down", "the tables are not up to date: atom-stripe db upgrade", facts)
    return reached, Finding("ok", "the tables are up to date", facts)


def _sql_database(store: Any) -> Database | None:
    """Return the database below *store*, if it is one of our own for SQL, or one around it."""
    for one in (store, getattr(store, "_store", None)):
        database = getattr(one, "_database", None)
        if type(database).__module__ == "atom_stripe.stores._sql.database":
            return database
    return None


async def _redis(watch: Watch) -> Findings:
    uses: list[str] = []
    if "redis" in type(watch.limits).__module__:
        uses.append("limits")
    oauth = watch.parts.oauth
    if oauth is not None and type(_token_store(oauth)).__module__ == "atom_stripe.stores.redis":
        uses.append("tokens")
    facts = {"uses": uses}
    if not uses:
        return {"redis": Finding("off", "nothing here uses Redis")}
    if "tokens" in uses:
        try:
            await _probed(oauth)
        except StoreError:
            return {"redis": Finding("down", "Redis does not answer, and the tokens are there", facts)}
    if "limits" in uses and not await settled(watch.limits.check()):
        return {"redis": Finding("degraded", "Redis does not answer, so requests are not limited", facts)}
    return {"redis": Finding("ok", "Redis answers", facts)}


async def _takes(watch: Watch) -> Findings:
    # The cheapest thing that a store can be asked for.
    await watch.call(watch.parts.inbox.store.value, _NOBODY)
    return {"takes": Finding("ok", "the inbox's store answers")}


async def _inbox(watch: Watch) -> Findings:
    inbox = watch.parts.inbox
    if inbox is None:
        return {"inbox": Finding("off", "there is no inbox")}
    status = await watch.call(inbox.operations.status)
    counts, age = status.counts, status.oldest_pending_age
    late = age is not None and age > watch.config.lag_limit
    facts = {
        "pending": counts.pending,
        "running": counts.running,
        "delayed": counts.delayed,
        "parked": counts.parked,
        "oldest_pending_age": None if age is None else round(age, 3),
        "paused": list(status.paused),
    }
    told = [
        *(["events wait for too long: does a worker run?"] if late else []),
        *(["handlers gave up on parked events"] if counts.parked else []),
    ]
    if told:
        return {"inbox": Finding("degraded", "; ".join(told), facts)}
    return {"inbox": Finding("ok", "handlers are paused" if status.paused else "events are handled in time", facts)}


async def _measured(watch: Watch) -> Findings:
    inbox = watch.parts.inbox
    status = await watch.call(inbox.operations.status)
    inbox._core.tally.signals.measured(status.counts)  # noqa: SLF001 - of this package
    return {"measured": Finding("ok", "measured")}


async def _engine(watch: Watch) -> Findings:
    engine = None if watch.parts.inbox is None else watch.parts.inbox.engine
    if engine is None:
        return {"engine": Finding("off", "there is none")}
    steps = await watch.call(engine.pending)
    if steps:
        # What stores an event wakes the engine in the same transaction, so nothing can be stored.
        return {
            "engine": Finding("down", "its tables are not up to date: atom-stripe db upgrade --engine", {"pending": len(steps)})
        }
    health = await watch.call(engine.health)
    facts = {
        "running": health.running,
        "listening": health.listening,
        "restarts": health.restarts,
        "waiting": health.waiting,
        "recovered": health.recovered,
    }
    if health.running and not health.listening:
        return {"engine": Finding("degraded", "it does not hear at once of what is stored", facts)}
    if health.waiting is None:
        return {"engine": Finding("degraded", "its database did not say how much waits", facts)}
    return {"engine": Finding("ok", "it runs in this process" if health.running else "it does not run in this process", facts)}


# Connections.


def _token_store(oauth: Any) -> Any:
    tokens = oauth._flows.ports.tokens  # noqa: SLF001 - of this package
    return getattr(tokens, "store", tokens)


async def _probed(oauth: Any) -> None:
    """Ask the token store for a user that there is not."""
    config = oauth.config
    await oauth._flows.ports.tokens.load(Reference(_NOBODY, config.profile, config.livemode))  # noqa: SLF001 - of this package


async def _store_of_tokens(watch: Watch) -> Findings:
    if watch.parts.oauth is None:
        return {"token_store": Finding("off", "there is no manager")}
    await _probed(watch.parts.oauth)
    return {"token_store": Finding("ok", "the token store answers")}


async def _tokens(watch: Watch) -> Findings:
    oauth = watch.parts.oauth
    if oauth is None:
        return {"tokens": Finding("off", "there is no manager")}
    query = TokenQuery(
        profile=oauth.config.profile,
        livemode=oauth.config.livemode,
        states=frozenset({"reauthorization_required"}),
        limit=_MOST_COUNTED + 1,
    )
    number = len(await oauth._flows.ports.tokens.find(query))  # noqa: SLF001 - of this package
    facts = {"reauthorization_required": min(number, _MOST_COUNTED)}
    if number > _MOST_COUNTED:
        return {"tokens": Finding("degraded", f"more than {_MOST_COUNTED} users have to connect again", facts)}
    if number:
        return {"tokens": Finding("degraded", "users have to connect again", facts)}
    return {"tokens": Finding("ok", "no user has to connect again", facts)}


_ORDER: tuple[Status, ...] = ("off", "ok", "degraded", "down")
_TAKES = _Check(("takes",), _takes)
_MEASURED = _Check(("measured",), _measured)
_TOKEN_STORE = _Check(("token_store",), _store_of_tokens)
_CHECKS = (
    _Check(("stripe", "webhook_endpoint"), health_stripe.examine, late="degraded", kept=True),
    _Check(("database", "migrations"), _database),
    _Check(("redis",), _redis, late="degraded"),
    _Check(("inbox",), _inbox),
    _Check(("engine",), _engine),
    _TOKEN_STORE,
    # Some stores have to look through all rows for it.
    _Check(("tokens",), _tokens, late="degraded", kept=True),
)
NAMES = tuple(name for check in _CHECKS for name in check.names)
