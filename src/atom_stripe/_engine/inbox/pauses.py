"""Handlers that are paused: their events wait, and hold up no others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atom_stripe._wire.lanes import ASIDE, home
from atom_stripe.protocols import AuditEntry, InboxQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from atom_stripe.protocols import InboxRecord, InboxStore

RECHECK = 300.0
"""Seconds after which an event that waits for a paused handler is looked at again, should word of its end not have arrived."""
_PAGE = 500


class Pauses:
    """Which handlers are paused, as far as this process knows. The store knows."""

    def __init__(self, store: InboxStore) -> None:
        self._store = store
        self._names: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Return the paused handlers that were known lately."""
        return self._names

    def refresh(self, handlers: Iterable[str]) -> frozenset[str]:
        """Ask the store which of *handlers* are paused."""
        self._names = frozenset(name for name in handlers if self._store.value(_key(name)) is not None)
        return self._names

    def pause(self, name: str, entry: AuditEntry) -> None:
        """Pause the handler *name*."""
        # The log first: a pause that nobody wrote down could not be found.
        self._store.log(entry)
        self._store.keep(_key(name), entry.actor)
        self._names |= {name}

    def resume(self, name: str, entry: AuditEntry, wake: Callable[[Sequence[str]], object]) -> int:
        """Let the handler *name* go on, bring the events that waited for it back into their lanes, and return how many they were."""
        self._store.log(entry)
        self._store.keep(_key(name), None)
        self._names -= {name}
        after = count = 0
        while found := self._store.find(InboxQuery(status="pending", handler=name, after=after, limit=_PAGE)):
            after = found[-1].id
            waiting = [record.id for record in found if ASIDE in record.lane and record.handlers[name].status == "pending"]
            if waiting:
                # Into the lane that it came from: its id is lower than those of later events, so it is handled before them.
                records = self._store.change(waiting, _brought_back)
                count += len(records)
                wake([record.lane for record in records])
        return count


def _brought_back(record: InboxRecord) -> InboxRecord | None:
    return replace(record, lane=home(record.lane), due_at=None) if ASIDE in record.lane else None


def _key(name: str) -> str:
    return f"paused:{name}"
