"""What a process of the world has in it: an inbox, and handlers that leave traces and fail as planned."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from atom_stripe.inbox import HandlerRetry, InboxConfig, Park, Retry
from atom_stripe.stores.sql import SqlInboxStore
from atom_stripe.webhooks import WebhookVerifier
from tests.fleet.checker import Clash, End, Start
from tests.fleet.journal import ALONE, EFFECT, Journal, Lane
from tests.fleet.plan import HANDLERS, Fate, fate, round_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class PlannedError(Exception):
    """What a handler raises because it was planned."""


class Member:
    """One process of the world, and its inbox. *settings*: see ``World.settings``."""

    def __init__(self, job: int, settings: dict[str, Any]) -> None:
        self.job = job
        self.name = f"w{job}"
        self.settings = settings
        self.folder = Path(settings["folder"])
        self.journal = Journal(self.folder)
        self.runs = itertools.count(1)
        self.postgres = not settings["url"].startswith("sqlite")
        self.store = SqlInboxStore.from_url(settings["url"])

    def inbox(self, kind: Any) -> Any:
        settings = self.settings
        engine = {} if settings["engine"] is None else {"engine": new_engine(settings["engine"], settings["url"])}
        return kind(
            WebhookVerifier(settings["secrets"]),
            self.store,
            config=InboxConfig(
                workers=settings["threads"],
                lease=settings["lease"],
                grace=settings["grace"],
                poll_interval=0.5,
                sweep_interval=3.0,
                accept_timeout=4.0,
                timeout=60.0,
            ),
            **engine,
        )

    @contextmanager
    def run(self, handler: str, event: Any, context: Any) -> Generator[Run]:
        """Write down that a handler runs, and how it ends."""
        run = Run(self, handler, event.id, context)
        run.begin()
        try:
            yield run
        except (PlannedError, Retry):
            run.end("failed")
            raise
        except Park:
            run.end("parked")
            raise
        except asyncio.CancelledError:
            run.end("cancelled")
            raise
        except BaseException:
            logging.getLogger(__name__).warning("a handler failed that should not", exc_info=True)
            run.end("error")
            raise
        else:
            run.end("ok")


class Run:
    """One run of one handler with one event."""

    def __init__(self, member: Member, handler: str, event: str, context: Any) -> None:
        self.fate: Fate = fate(event, handler)
        self._member = member
        self._record = context.event_record
        self._attempt: int = context.attempt
        self._number = next(member.runs)
        self._round = round_of(event)
        self._start = Start(
            worker=member.name,
            run=self._number,
            row=self._record.id,
            event=event,
            lane=self._record.lane,
            handler=handler,
            attempt=self._attempt,
            claimed=self._record.run_until - member.settings["lease"],
        )
        self._lane = Lane(member.folder, self._record.lane, member.name)

    def begin(self) -> None:
        self._lane.enter()
        self._write(self._start)
        if self._lane.holder is not None:
            self._write(Clash(self._member.name, self._number, self._lane.holder, "code"))

    def take_effect(self, connection: Any) -> None:
        """Write the effect."""
        if self._member.postgres and not connection.execute(ALONE, {"lane": self._record.lane}).scalar():
            self._write(Clash(self._member.name, self._number, "somebody", "transaction"))
        values = {"round": self._round, "event": self._start.event, "handler": self._start.handler}
        connection.execute(EFFECT, values)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.fate.seconds(self._attempt)

    def meet_fate(self) -> None:
        """Fail, if that is the plan."""
        if not self.fate.fails(self._attempt):
            return
        if self.fate.way == "park":
            raise Park
        if self.fate.way == "retry":
            raise Retry(after=0.2)
        raise PlannedError

    def end(self, outcome: Any) -> None:
        self._write(End(self._member.name, self._number, outcome))
        self._lane.leave()

    def _write(self, line: Any) -> None:
        self._member.journal.write(self._round, line)


def new_engine(name: str, url: str) -> Any:
    """Return an engine."""
    if name == "pgqueuer":
        from atom_stripe.engines.pgqueuer import PgQueuerEngine

        return PgQueuerEngine(url)
    from atom_stripe.engines.procrastinate import ProcrastinateEngine

    return ProcrastinateEngine(url)


def register(member: Member, inbox: Any, make: Callable[[Member, str], Callable[..., Any]]) -> None:
    """Register all handlers. Receivers have them too, as in a program that does both."""
    for name, rule in HANDLERS.items():
        retry = HandlerRetry(attempts=rule.attempts, initial_delay=0.05, max_delay=0.5)
        inbox.on(*rule.types, name=name, ordering=rule.ordering, retry=retry)(make(member, name))


def sync_handler(member: Member, name: str) -> Callable[..., Any]:
    def handle(event: Any, context: Any) -> None:
        with member.run(name, event, context) as run:
            if not member.postgres:
                # While a transaction of SQLite's is open, nobody else writes.
                time.sleep(run.seconds)
            run.take_effect(context.connection)
            if member.postgres:
                time.sleep(run.seconds)
            run.meet_fate()

    return handle


def async_handler(member: Member, name: str) -> Callable[..., Any]:
    async def handle(event: Any, context: Any) -> None:
        with member.run(name, event, context) as run:
            if not member.postgres:
                await anyio.sleep(run.seconds)
            await context.connection.run_sync(run.take_effect)
            if member.postgres:
                await anyio.sleep(run.seconds)
            run.meet_fate()

    return handle
