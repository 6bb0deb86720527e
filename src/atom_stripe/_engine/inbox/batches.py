"""A change of many events: batch by batch, each a transaction with its entry in the audit log, and no faster than it may be."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from atom_stripe._engine.inbox.deciding import ranges
from atom_stripe._engine.inbox.operated import Changes
from atom_stripe.errors import ConfigurationError
from atom_stripe.protocols import InboxQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from atom_stripe._engine.inbox.auditing import Entry
    from atom_stripe._engine.inbox.deciding import Decision
    from atom_stripe.protocols import InboxRecord, InboxStore

    Progress = Callable[[int, int], None]


class Batches:
    """What *decide* makes of each event, in *store*. *wake*: told of lanes in which there is something to do. *sleep*: keeps to a rate."""

    def __init__(
        self,
        store: InboxStore,
        decide: Callable[[InboxRecord], Decision],
        entry: Entry,
        *,
        wake: Callable[[Sequence[str]], object],
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._decide = decide
        self._entry = entry
        self._wake = wake
        self._sleep = sleep
        self._sorted: dict[str, list[int]] = {field.name: [] for field in fields(Changes)}

    def carry_out(self, events: Iterable[int], *, rate: float | None, batch: int, progress: Progress | None) -> Changes:
        """
        Change *events*, and return what became of each.

        Raises:
            ConfigurationError: *rate* or *batch* makes no sense.
            StoreError: The store is away. The batches before this one stay changed.
        """
        if rate is not None and not rate > 0:
            msg = "rate is a number of events a second above 0, or None for no limit"
            raise ConfigurationError(msg)
        check_batch(batch)
        ids = sorted(set(events))
        # No more at once than a second has room for.
        size = batch if rate is None else max(1, min(batch, int(min(rate, batch))))
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            changed = self._change(part)
            if progress is not None:
                progress(start + len(part), len(ids))
            if rate is not None and changed and start + size < len(ids):
                self._sleep(changed / rate)
        done = Changes(**{name: tuple(numbers) for name, numbers in self._sorted.items()})
        if done.left:
            told = "; ".join(f"{reason}: {len(numbers)}" for reason, numbers in done.left.items())
            self._store.log(self._entry(_counted(sum(map(len, done.left.values()))), f"left as they are ({told})"))
        return done

    def _change(self, part: list[int]) -> int:
        """Change a batch, note what became of each event, and return how many were changed."""
        reasons: dict[int, Literal["waiting", "purged", "unconcerned"] | None] = {}

        def change(record: InboxRecord) -> InboxRecord | None:
            decision = self._decide(record)
            reasons[record.id] = decision if isinstance(decision, str) else None
            return None if isinstance(decision, str) else decision

        records = self._store.change(part, change, self._entry(_counted(len(part)), f"events {ranges(part)}"))
        changed = {record.id for record in records}
        for number in part:
            # A store does not ask about an event that somebody has claimed.
            where = "changed" if number in changed else reasons.get(number) or self._why_not(number)
            self._sorted[where].append(number)
        self._wake([record.lane for record in records if record.status == "pending"])
        return len(changed)

    def _why_not(self, number: int) -> Literal["running", "missing"]:
        found = self._store.find(InboxQuery(after=number - 1, limit=1))
        return "running" if found and found[0].id == number else "missing"


def _counted(number: int) -> str:
    return f"{number} event{'' if number == 1 else 's'}"


def check_batch(batch: int) -> None:
    """Raise ``ConfigurationError`` for what is no size of a batch."""
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        msg = "batch is a whole number above 0"
        raise ConfigurationError(msg)
