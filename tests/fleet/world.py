"""A world of processes around one inbox: who sends, who is killed, and what is found when all is over."""

from __future__ import annotations

import logging
import random
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from atom_stripe.protocols import InboxQuery
from atom_stripe.stores.sql import SqlInboxStore, upgrade
from tests.fleet.checker import Incident
from tests.fleet.handlers import new_engine
from tests.fleet.journal import TABLES, Journal, read_deliveries, read_effects
from tests.fleet.nest import PATIENCE, wait_for
from tests.fleet.sending import Round

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tests.fleet.checker import Violation
    from tests.fleet.nest import Nest, Process
    from tests.fleet.plan import Plan

_LOGGER = logging.getLogger(__name__)
_PAGE = 1000


class World:
    """Receivers and workers around the inbox at *url*. *threads*: of each worker; *lease*, *grace*: of its inbox."""

    def __init__(
        self,
        nest: Nest,
        url: str,
        folder: Path,
        *,
        engine: str | None = None,
        threads: int = 4,
        lease: float = 10.0,
        grace: float = 20.0,
        seed: int = 0,
    ) -> None:
        self.url = url
        self.engine = engine
        self.threads = threads
        self.lease = lease
        self.grace = grace
        self.folder = folder
        self.secret = "whsec_fleet00000000"
        self.secrets: Sequence[str] = (self.secret,)
        self.kills = 0
        self.members: list[Process] = []
        self.journal = Journal(folder)
        self.rounds: list[Round] = []
        self.random = random.Random(seed)
        self._nest = nest
        self._postgres = not url.startswith("sqlite")
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg") if self._postgres else url, poolclass=NullPool, hide_parameters=True
        )
        upgrade(url)
        if engine is not None:
            new_engine(engine, url).upgrade()
        with self._engine.begin() as connection:
            for statement in TABLES[self._engine.dialect.name]:
                connection.execute(text(statement))

    # Members.

    def settings(self) -> dict[str, Any]:
        """Return what a member is told."""
        return {
            "url": self.url,
            "engine": self.engine,
            "secrets": list(self.secrets),
            "folder": str(self.folder),
            "threads": self.threads,
            "lease": self.lease,
            "grace": self.grace,
        }

    def start(self, *programs: str) -> None:
        """Start members, and wait until they are at work."""
        started = [self._nest.start(program, self.settings()) for program in programs]
        self.members = [*self.members, *started]
        for member in started:
            member.wait_for("port" if member.receives else "ready")

    def ports(self) -> list[int]:
        """Return where receivers are to be reached."""
        return [port for member in self.members if member.receives and (port := member.told("port")) is not None]

    def receivers(self) -> list[Process]:
        return [member for member in self.members if member.receives]

    def workers(self) -> list[Process]:
        return [member for member in self.members if not member.receives]

    def note(self, incident: Incident) -> None:
        """Write down what is done to the world, before it is done."""
        for round_ in list(self.rounds):
            self.journal.write(round_.plan.round, incident)

    def kill(self, member: Process) -> None:
        """``kill -9``, and start another one like it."""
        self.note(Incident("kill", member.name))
        member.send(signal.SIGKILL)
        assert member.ended() == -signal.SIGKILL, member.messages
        self._gone(member)
        self.kills += 1
        self.start(member.program)

    def kill_on_the_way(self, round_: Round, kills: int, *, begin: float = 0.05, until: float = 0.95) -> None:
        """Kill members while a round is on its way between *begin* and *until*: two workers, then a receiver, and so on."""
        for number in range(kills):
            round_.wait_for(begin + (until - begin) * number / kills)
            self.kill(self.random.choice(self.receivers() if number % 3 == 2 else self.workers()))

    def stop(self, *members: Process) -> list[int]:
        """SIGTERM: have members end in order. Returns their exit statuses."""
        for member in members:
            self.note(Incident("stop", member.name))
            member.send(signal.SIGTERM)
        statuses = [member.ended() for member in members]
        for member in members:
            self._gone(member)
        return statuses

    def _gone(self, member: Process) -> None:
        self.members = [other for other in self.members if other is not member]
        self._nest.forget(member)

    def rotate(self, secret: str) -> None:
        """Roll the signing secret: receivers learn the new one, Stripe signs with it, receivers forget the old one."""
        for secrets in ((self.secret, secret), (secret,)):
            self.secrets = secrets
            for member in self.receivers():
                self.start(member.program)
                assert self.stop(member) == [0]
            self.secret = secret

    @contextmanager
    def outage(self) -> Generator[None]:
        """Note that the database is about to go, and that it is back."""
        self.note(Incident("outage"))
        try:
            yield
        finally:
            self.note(Incident("healed"))

    # Events.

    def send(self, plan: Plan, *, senders: int = 8, rate: float | None = None) -> Round:
        """Begin to send a round."""
        round_ = Round(self, plan)
        self.rounds = [*self.rounds, round_]
        round_.start(senders, rate)
        return round_

    def ask(self, statement: str, **values: Any) -> Any:
        """Return the first value of the first row, ``None`` while the database is away."""
        try:
            with self._engine.connect() as connection:
                return connection.execute(text(statement), values).scalar()
        except DBAPIError:
            return None

    def effects(self) -> int:
        """Return how many effects there are, about."""
        return int(self.ask("SELECT max(seq) FROM effects") or 0)

    def pending(self, round_: Round) -> int | None:
        """Return how many events of a round are not handled."""
        prefix = f"evt_{round_.plan.round}_"
        counted: int | None = self.ask(
            "SELECT count(*) FROM stripe_events WHERE status = 'pending' AND substr(event_id, 1, :length) = :prefix",
            prefix=prefix,
            length=len(prefix),
        )
        return counted

    def check(self, round_: Round) -> list[Violation]:
        """Wait until a round is over, and return what is broken."""
        wait_for(round_.sent, lambda: f"the answers: {round_.answers} are there, {self.alive()}")
        best, until = -1, time.monotonic() + PATIENCE
        while (pending := self.pending(round_)) != 0 and time.monotonic() < until:
            # As long as it goes on there is no hurry.
            if (now := self.effects()) > best:
                best, until = now, time.monotonic() + PATIENCE
            time.sleep(0.2)
        self.close_round(round_)
        if pending:
            _LOGGER.error("%s events are pending; %s", pending, self.alive())
        return round_.checker.violations()

    def close_round(self, round_: Round) -> None:
        """Tell the checker of a round what there is to be told."""
        self.rounds = [other for other in self.rounds if other is not round_]
        checker, number = round_.checker, round_.plan.round
        checker.ran(self.journal.read(number))
        prefix = f"evt_{number}_"
        with SqlInboxStore.from_url(self.url) as store:
            after, first, last = 0, 0, 0
            while page := store.find(InboxQuery(after=after, limit=_PAGE)):
                after = page[-1].id
                mine = [record for record in page if record.event_id.startswith(prefix)]
                if mine:
                    first, last = first or mine[0].id, mine[-1].id
                checker.found(mine, (), ())
        with self._engine.connect() as connection:
            checker.found((), read_effects(connection, number), read_deliveries(connection, first, last))

    def forget(self, round_: Round) -> None:
        """Delete all traces of a round that was checked."""
        number = round_.plan.round
        prefix = f"evt_{number}_"
        mine = "(SELECT id FROM stripe_events WHERE substr(event_id, 1, :length) = :prefix)"
        statements = (
            f"DELETE FROM stripe_deliveries WHERE event IN {mine}",  # noqa: S608 - a text of ours
            f"DELETE FROM stripe_event_payloads WHERE id IN {mine}",  # noqa: S608 - a text of ours
            "DELETE FROM stripe_events WHERE substr(event_id, 1, :length) = :prefix",
            "DELETE FROM effects WHERE round = :round",
        )

        def deleted() -> bool:
            try:
                with self._engine.begin() as connection:
                    for statement in statements:
                        connection.execute(text(statement), {"prefix": prefix, "length": len(prefix), "round": number})
            except DBAPIError:
                return False
            return True

        wait_for(deleted, lambda: f"round {number} to be deleted")
        self.journal.remove(number)
        for lane in self.folder.glob(f"*sub_{number}_*.lane"):
            lane.unlink()

    def sizes(self) -> dict[str, float]:
        """Return the sizes in bytes of the log of changes, of the inbox's tables, and of the engine's."""
        if not self._postgres:
            path = Path(str(self._engine.url.database))
            log = path.with_name(f"{path.name}-wal")
            return {"wal": float(log.stat().st_size if log.exists() else 0), "store": float(path.stat().st_size)}
        total = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' AND relname"
        return {
            "wal": float(self.ask("SELECT sum(size) FROM pg_ls_waldir()") or 0),
            "store": float(self.ask(f"{total} IN ('stripe_events', 'stripe_event_payloads', 'stripe_deliveries')") or 0),
            "engine": float(self.ask(f"{total} ~ '^(stripe_pgqueuer|procrastinate)'") or 0),
        }

    def alive(self) -> str:
        """Say who is there."""
        return ", ".join(f"{member.program} {member.name} {member.told('ended') or 'lives'}" for member in self.members)

    def close(self) -> None:
        """End everything."""
        members, self.members = self.members, []
        for member in members:
            member.send(signal.SIGKILL)
        for member in members:
            member.ended()
        crashed = [member.told("crashed") for member in members if member.told("crashed")]
        self.journal.close()
        self._engine.dispose()
        assert not crashed, crashed
