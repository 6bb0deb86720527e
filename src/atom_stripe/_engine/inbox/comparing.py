"""
One account of a reconciliation: what Stripe lists in a window of time, against what the store has.

Stripe lists the newest first, and events are to be stored in the order in which they happened. So the window is cut into slices that fit into memory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.inbox.gaps import AccountGaps, Findings, MissedEvent, MissedReason
from atom_stripe._wire.decoding import json_object, unreadable
from atom_stripe._wire.entries import canonical, sent_entries
from atom_stripe._wire.operation import Operation
from atom_stripe.errors import InvalidResponseError, StoreError
from atom_stripe.models.event import Event
from atom_stripe.protocols import InboxQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe._engine.inbox.calling import Calling
    from atom_stripe._engine.inbox.core import InboxCore
    from atom_stripe._engine.inbox.wishes import Reconciliation, Source
    from atom_stripe.protocols import Arrival

_LOGGER = logging.getLogger("atom_stripe.inbox")

ENDPOINT = "reconcile"
"""What stands in the place of the endpoint's name for events that came this way."""

_EVENTS = Operation("GET", "/v1/events")
_PAGE = 100
# So many pages of one slice of time are held at once; more than that, and the slice is cut.
_MOST_PAGES = 10
# In one second that cannot be cut. A list that goes on longer than that leads nowhere.
_MOST_PAGES_OF_A_SECOND = 10_000
_LONGEST = 255
_ENDLESS = "Stripe's list of events does not end"


@dataclass(frozen=True, slots=True)
class Window:
    """What is compared of one account. *gaps*: what is known so far."""

    source: Source
    cursor: str
    gaps: AccountGaps


@dataclass(frozen=True, slots=True)
class _Entry:
    """One event of a page. *arrival*: ``None`` if it is none."""

    id: str | None
    created: int | None
    pending: int
    arrival: Arrival | None


class Comparison:
    """One account."""

    def __init__(self, core: InboxCore, call: Calling, wanted: Reconciliation, findings: Findings, window: Window) -> None:
        self._core = core
        self._store = core.store
        self._call = call
        self._wanted = wanted
        self._findings = findings
        self._source = window.source
        self._cursor = window.cursor
        self._begun: float | None = None
        self._failed_at: int | None = None
        self.gaps = window.gaps

    async def run(self) -> None:
        """Compare the window in the order of time: in slices of it, because Stripe lists the newest first."""
        start, until = self.gaps.since, self.gaps.until
        self.gaps = replace(self.gaps, until=start - 1)
        # The ends of the slices that are left, the next one last.
        ends = [until] if start <= until else []
        while ends:
            end = ends[-1]
            pages, whole = await self._slice(start, end)
            if not whole and end > start:
                ends.append((start + end) // 2)
                continue
            if whole:
                for page in reversed(pages):
                    await self._take(page[::-1])
            else:
                await self._crowded(start)
            await self._moved(ends.pop())
            start = end + 1

    async def _slice(self, start: int, end: int) -> tuple[list[list[_Entry]], bool]:
        """Return the pages of a slice of time, the newest first, and whether these are all of them."""
        pages: list[list[_Entry]] = []
        after: str | None = None
        while len(pages) < _MOST_PAGES:
            page, more = await self._page(start, end, {"starting_after": after} if after else {})
            pages.append(page)
            if not more:
                return pages, True
            after = _end(page, -1)
            # At the pace of the newest ones there will be too many.
            if len(pages) == 1 and end > start and (end - (page[-1].created or start) + 1) * _MOST_PAGES < end - start:
                break
        return pages, False

    async def _crowded(self, second: int) -> None:
        """Take a second that holds more than may be held: go through to its oldest page, and come back."""
        page, more = await self._page(second, second, {})
        for _ in range(_MOST_PAGES_OF_A_SECOND):
            if not more:
                break
            page, more = await self._page(second, second, {"starting_after": _end(page, -1)})
        else:
            raise InvalidResponseError(_ENDLESS)
        for _ in range(_MOST_PAGES_OF_A_SECOND):
            if not page:
                return
            await self._take(page[::-1])
            page, _ = await self._page(second, second, {"ending_before": _end(page, 0)})
        raise InvalidResponseError(_ENDLESS)

    async def _page(self, start: int, end: int, cursor: dict[str, str]) -> tuple[list[_Entry], bool]:
        params = {"created": {"gte": start, "lte": end}, "limit": _PAGE, **self._wanted.filters, **cursor, **self._source.options}
        reply = await self._source.flow.send(_EVENTS, _EVENTS.path, params)
        page = json_object(reply.body) or {}
        data = page.get("data")
        if not isinstance(data, list):
            raise unreadable(reply, reads=True)
        sent = sent_entries(reply.body)
        if sent is None or len(sent) != len(data):
            sent = [canonical(raw) for raw in data]
        return [self._entry(raw, payload) for raw, payload in zip(data, sent, strict=True)], page.get("has_more") is True

    def _entry(self, raw: Any, payload: bytes) -> _Entry:
        if not isinstance(raw, dict):
            return _Entry(None, None, 0, None)
        identity, created, pending = _text(raw.get("id")), raw.get("created"), raw.get("pending_webhooks")
        seconds = created if type(created) is int else None
        if self._source.account and not raw.get("account"):
            # A delivery names the account that it arose in; so that both are one event here, this one has to.
            raw = {**raw, "account": self._source.account}
            payload = canonical(raw)
        data = raw.get("data")
        readable = isinstance(data, dict) and isinstance(data.get("object"), dict) and raw.get("object") == "event"
        if not (readable and identity and _text(raw.get("type")) and (raw.get("account") is None or _text(raw["account"]))):
            return _Entry(identity, seconds, 0, None)
        arrival = self._core.intake.arrival_of(Event.from_stripe(raw), payload, ENDPOINT)
        return _Entry(identity, seconds, pending if type(pending) is int else 0, arrival)

    async def _take(self, page: Sequence[_Entry]) -> None:
        """Store what is missing of *page*, which is in the order of time."""
        found = [entry for entry in page if entry.arrival is not None]
        if len(found) < len(page):
            _LOGGER.error("Stripe listed %d entries that are no events", len(page) - len(found))
        missing = await self._call(self._missing, found)
        if missing and not self.gaps.missing:
            self._begun = await self._call(self._first)
        stored = await self._call(self._append, missing) if missing and not self._wanted.dry_run else {}
        for entry in missing:
            self._note(entry, stored=stored.get(entry.id, False))
        failed = 0 if self._wanted.dry_run else len(missing) - sum(stored.values())
        self.gaps = replace(
            self.gaps,
            listed=self.gaps.listed + len(page),
            missing=self.gaps.missing + len(missing),
            stored=self.gaps.stored + sum(stored.values()),
            failed=self.gaps.failed + failed,
            unreadable=self.gaps.unreadable + len(page) - len(found),
        )

    def _missing(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Return those that the store does not have. Asked first, because appending what is parked would run it again."""
        missing: list[_Entry] = []
        for entry in entries:
            arrival = entry.arrival
            if arrival is not None:
                query = InboxQuery(event_id=arrival.event_id, account=arrival.account, livemode=arrival.livemode, limit=1)
                if not self._store.find(query):
                    missing.append(entry)
        return missing

    def _first(self) -> float | None:
        """Return when the inbox got its first event of the account."""
        first = self._store.find(InboxQuery(account=self._source.account, livemode=self.gaps.livemode, limit=1))
        return first[0].received_at if first else None

    def _append(self, missing: Sequence[_Entry]) -> dict[str | None, bool]:
        """Store *missing* together, and return for each id whether it is stored."""
        arrivals = [entry.arrival for entry in missing if entry.arrival is not None]
        done: dict[str | None, bool] = {}
        for entry, appended in zip(missing, self._core.append(arrivals), strict=True):
            stored = appended is not None and not isinstance(appended, StoreError)
            done[entry.id] = stored
            if isinstance(appended, StoreError):
                _LOGGER.error("an event of the reconciliation was not stored: %s", appended)
                at = entry.created if entry.created is not None else self.gaps.since
                self._failed_at = at if self._failed_at is None else min(self._failed_at, at)
            elif appended is not None:
                self._core.tally.count("reconciled")
        return done

    def _note(self, entry: _Entry, *, stored: bool) -> None:
        arrival = entry.arrival
        if arrival is None:
            return
        self._findings.add(
            MissedEvent(
                event_id=arrival.event_id,
                type=arrival.type,
                account=arrival.account,
                livemode=arrival.livemode,
                created=entry.created,
                pending_webhooks=entry.pending,
                reason=self._reason(entry),
                stored=stored,
            )
        )

    def _reason(self, entry: _Entry) -> MissedReason:
        if entry.pending > 0:
            return "undelivered"
        if self._begun is None or (entry.created is not None and entry.created < self._begun):
            return "before_inbox"
        return "delivered_elsewhere"

    async def _moved(self, end: int) -> None:
        """Move the cursor to *end*: everything up to it is stored, but for what the database refused."""
        self.gaps = replace(self.gaps, until=end)
        if not self._wanted.dry_run:
            done = end if self._failed_at is None else min(end, self._failed_at - 1)
            await self._call(self._store.keep, self._cursor, str(done))
        if self._wanted.on_progress is not None:
            self._wanted.on_progress(self.gaps)


def _end(page: Sequence[_Entry], position: int) -> str:
    """Return the id at the end of *page* from which the list goes on."""
    identity = page[position].id if page else None
    if identity is None:
        # Going on elsewhere would pass over what follows, and the cursor with it.
        msg = "Stripe's list of events goes on behind an entry without an id"
        raise InvalidResponseError(msg)
    return identity


def _text(value: object) -> str | None:
    """Return *value* if it is a text that every database takes."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isascii() and value.isprintable() else None
