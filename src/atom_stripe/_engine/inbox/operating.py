"""What operators do to an inbox: look, replay, requeue, discard, purge, pause. Whatever changes something is in the audit log."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from atom_stripe._engine.inbox import deciding
from atom_stripe._engine.inbox.auditing import entries
from atom_stripe._engine.inbox.batches import Batches, check_batch
from atom_stripe._engine.inbox.operated import Changes, EventFilter, InboxStatus, Inspection
from atom_stripe._engine.inbox.pauses import Pauses
from atom_stripe.errors import ConfigurationError
from atom_stripe.protocols import InboxQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Unpack

    from atom_stripe._engine.inbox.auditing import Entry
    from atom_stripe._engine.inbox.batches import Progress
    from atom_stripe._engine.inbox.deciding import Decision
    from atom_stripe._engine.inbox.registry import Handler
    from atom_stripe.protocols import AuditEntry, EventStatus, InboxRecord, InboxStore

RETENTION = timedelta(days=90)
"""For how long payloads are kept after their events were handled, unless told otherwise."""
RATE = 200.0
"""How many events a second are replayed, unless told otherwise."""
BATCH = 200
_PAGE = 1000
_PREFIX = "handler "


class InboxOperations:
    """
    Everything that operators do to the inbox in *store*, while its workers run.

    What is done to many events is done in batches, each a transaction with its entry in the audit log; if it is stopped, what was done stays
    done, and it may be begun again. An event that a worker has claimed is left alone and reported. Workers of other processes find what is
    to be handled again within their ``sweep_interval``.

    *handlers*: returns those that are registered, if they are known: names are checked against them. *wake*: told of lanes in which there is
    something to do. *clock*: seconds since 1970. *sleep*: keeps to a rate.
    """

    def __init__(
        self,
        store: InboxStore,
        *,
        handlers: Callable[[], Mapping[str, Handler]] | None = None,
        wake: Callable[[Sequence[str]], object] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._wake = wake or _nothing
        self._clock = clock
        self._sleep = sleep

    # Looking.

    def find(self, query: InboxQuery) -> Sequence[InboxRecord]:
        """
        Return the events that *query* asks for, a page of ``limit``: the next one comes after the last one's id.

        Raises:
            StoreError: The store is away.
        """
        return self._store.find(query)

    def select(self, **which: Unpack[EventFilter]) -> list[int]:
        """
        Return the numbers of all events that meet everything given, without a limit: for what is to be done to them.

        Raises:
            StoreError: The store is away.
        """
        return [record.id for record in self._all(which)]

    def parked(self, *, delayed: bool = False, **which: Unpack[EventFilter]) -> list[int]:
        """
        Return the numbers of the events of which a handler is parked; with *handler* in the filter, that one.

        *delayed*: also those of which it waits for another attempt.

        Raises:
            StoreError: The store is away.
        """
        handler, status = which.get("handler"), which.get("status")
        # An event is pending while one handler is, though another one of it is parked.
        statuses: tuple[EventStatus, ...] = ("parked", "pending") if status is None else (status,)
        found = [record for each in statuses for record in self._all({**which, "status": each})]
        return sorted(record.id for record in found if deciding.concerns(record, handler, delayed=delayed))

    def _all(self, which: EventFilter) -> Iterable[InboxRecord]:
        after = 0
        while page := self._store.find(InboxQuery(**which, after=after, limit=_PAGE)):
            yield from page
            after = page[-1].id

    def inspect(self, event: int | str, *, payload: bool = False) -> Sequence[Inspection]:
        """
        Return the event with that number, or those with that id of Stripe's: one for each account and mode. *payload*: with the stored bytes.

        Raises:
            StoreError: The store is away.
        """
        if isinstance(event, int):
            found = self._store.find(InboxQuery(after=event - 1, limit=1, payloads=payload))
            found = [record for record in found if record.id == event]
        else:
            found = self._store.find(InboxQuery(event_id=event, limit=_PAGE, payloads=payload))
        return [Inspection(record=record, deliveries=self._store.delivered(record.id, _PAGE)) for record in found]

    def status(self) -> InboxStatus:
        """
        Return how full the inbox is, and which handlers are paused.

        Raises:
            StoreError: The store is away.
        """
        return InboxStatus(counts=self._store.counts(), paused=self.paused())

    def audit(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, AuditEntry]]:
        """
        Return entries of the audit log with their numbers, above *after*, *limit* at most.

        Raises:
            StoreError: The store is away.
        """
        return self._store.logged(after, limit)

    # Changing.

    def replay(
        self,
        events: Iterable[int],
        *,
        handlers: Iterable[str] | None = None,
        rate: float | None = RATE,
        batch: int = BATCH,
        actor: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> Changes:
        """
        Have *events*, numbers such as ``select()`` returns, handled again from the bytes that were stored, however old they are.

        Those that are not handled yet are left: nothing runs twice at once. A replayed event comes before later ones of its lane.

        Args:
            events: The numbers of the events.
            handlers: The names of the handlers to run; left out, all that want the event now. Unless the registered handlers are known, one that
                never saw the event runs in any case.
            rate: How many events a second at most; ``None`` for no limit.
            batch: How many events in one transaction.
            actor: Who does it, for the audit log; left out, the user of the operating system.
            reason: Why, for the audit log.
            progress: Told how many of how many are done.

        Raises:
            ConfigurationError: There is no such handler, or an argument is malformed.
            StoreError: The store is away.
        """
        names = None if handlers is None else self._known(handlers)
        known = None if self._handlers is None else self._handlers()
        what = "all handlers" if names is None else f"handlers {', '.join(sorted(names))}"
        entry = self._entry("replay", actor, what, reason)
        return self._change(
            events, lambda record: deciding.replayed(record, names, known), entry, rate=rate, batch=batch, progress=progress
        )

    def requeue(
        self,
        events: Iterable[int],
        *,
        handler: str | None = None,
        delayed: bool = False,
        rate: float | None = RATE,
        batch: int = BATCH,
        actor: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> Changes:
        """
        Have parked handlers of *events*, numbers such as ``parked()`` returns, tried again, with all their attempts.

        *handler*: this one alone. *delayed*: those that wait for another attempt are tried at once too. The rest as in ``replay()``.

        Raises:
            ConfigurationError: An argument is malformed.
            StoreError: The store is away.
        """
        entry = self._entry("requeue", actor, _told(handler, delayed=delayed), reason)
        return self._change(
            events,
            lambda record: deciding.requeued(record, handler, delayed=delayed),
            entry,
            rate=rate,
            batch=batch,
            progress=progress,
        )

    def discard(
        self,
        events: Iterable[int],
        *,
        handler: str | None = None,
        delayed: bool = False,
        batch: int = BATCH,
        actor: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> Changes:
        """
        Decide that parked handlers of *events*, numbers such as ``parked()`` returns, are to run no more. ``replay()`` undoes it.

        *handler*: this one alone. *delayed*: also those that wait for another attempt; of a named one, for its first too. The rest as in
        ``replay()``.

        Raises:
            ConfigurationError: An argument is malformed.
            StoreError: The store is away.
        """
        entry = self._entry("discard", actor, _told(handler, delayed=delayed), reason)
        now = self._clock()
        return self._change(
            events,
            lambda record: deciding.discarded(record, handler, delayed=delayed, now=now),
            entry,
            rate=None,
            batch=batch,
            progress=progress,
        )

    def purge(
        self,
        *,
        older_than: timedelta = RETENTION,
        batch: int = _PAGE,
        actor: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> int:
        """
        Empty the payloads of events that were done or discarded this long ago, and return how many those were.

        Their ids stay, so that whatever Stripe delivers once more is still found to be a duplicate. Nothing that is not finished is touched. What was
        purged cannot be replayed.

        Raises:
            ConfigurationError: An argument is malformed.
            StoreError: The store is away. What was purged stays purged; begin again.
        """
        if older_than < timedelta(0):
            msg = "older_than is not negative"
            raise ConfigurationError(msg)
        check_batch(batch)
        entry = self._entry("purge", actor, f"finished more than {older_than / timedelta(days=1):g} days ago", reason)
        before = self._store.counts().now - older_than.total_seconds()
        # Written before, because afterwards nothing would tell of what a failure left half done.
        self._store.log(entry("payloads", "begun"))
        purged = 0
        while count := self._store.purge(before, batch):
            purged += count
            if progress is not None:
                progress(purged, purged)
        self._store.log(entry("payloads", f"{purged} purged"))
        return purged

    # Pausing.

    def pause(self, handler: str, *, actor: str | None = None, reason: str = "") -> None:
        """
        Have *handler* run no more, in every process within its ``poll_interval``: its events wait, and hold up no other handler.

        Raises:
            ConfigurationError: There is no such handler.
            StoreError: The store is away.
        """
        (name,) = self._known([handler])
        Pauses(self._store).pause(name, self._entry("pause", actor, "", reason)(f"{_PREFIX}{name}", ""))

    def resume(self, handler: str, *, actor: str | None = None, reason: str = "") -> int:
        """
        Let a paused handler go on, with what has waited for it first, and return how many events that were.

        Raises:
            StoreError: The store is away.
        """
        return Pauses(self._store).resume(handler, self._entry("resume", actor, "", reason)(f"{_PREFIX}{handler}", ""), self._wake)

    def paused(self) -> tuple[str, ...]:
        """
        Return the names of the handlers that are paused.

        Raises:
            StoreError: The store is away.
        """
        names = set(() if self._handlers is None else self._handlers())
        after = 0
        # The store can be asked for one name at a time, and every pause is in the log.
        while page := self._store.logged(after, _PAGE):
            names |= {entry.subject.removeprefix(_PREFIX) for _, entry in page if entry.action == "pause"}
            after = page[-1][0]
        return tuple(sorted(Pauses(self._store).refresh(names)))

    def has_seen(self, handler: str) -> bool:
        """
        Return whether *handler* has begun with any stored event: a name that none knows is most likely misspelled.

        Raises:
            StoreError: The store is away.
        """
        return bool(self._store.find(InboxQuery(handler=handler, limit=1)))

    def _known(self, names: Iterable[str]) -> frozenset[str]:
        wanted = frozenset([names] if isinstance(names, str) else names)
        if not wanted:
            msg = "handlers names at least one handler, or is left out for all"
            raise ConfigurationError(msg)
        if self._handlers is not None and (unknown := sorted(wanted - self._handlers().keys())):
            msg = f"there is no handler {unknown[0]!r}; these are registered: {', '.join(self._handlers()) or 'none'}"
            raise ConfigurationError(msg)
        return wanted

    def _entry(self, action: str, actor: str | None, what: str, reason: str) -> Entry:
        return entries(self._clock, action, actor, what, reason)

    def _change(
        self,
        events: Iterable[int],
        decide: Callable[[InboxRecord], Decision],
        entry: Entry,
        *,
        rate: float | None,
        batch: int,
        progress: Progress | None,
    ) -> Changes:
        work = Batches(self._store, decide, entry, wake=self._wake, sleep=self._sleep)
        return work.carry_out(events, rate=rate, batch=batch, progress=progress)


def _told(handler: str | None, *, delayed: bool) -> str:
    which = "parked and delayed" if delayed else "parked"
    return f"{which} handlers" if handler is None else f"{which} handler {handler}"


def _nothing(_lanes: Sequence[str]) -> None:
    """Tell nobody: workers look for themselves."""
