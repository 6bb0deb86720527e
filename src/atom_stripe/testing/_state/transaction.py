"""What an operation works with. All of it happens, or nothing does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import no_such
from atom_stripe.testing._state.store import copied, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atom_stripe.testing._state.clock import Clock, Job
    from atom_stripe.testing._state.ids import Ids
    from atom_stripe.testing._state.store import Account, Kind, Row


@dataclass(frozen=True, slots=True)
class Happening:
    """An event to be: its type, the object as it was then, and what it changed from."""

    type: str
    object: Row = field(repr=False)
    previous: Row | None = field(repr=False)


@dataclass(slots=True)
class Transaction:
    """
    The rows of one account, for one piece of work.

    A row is changed in place after ``change(row)`` and only then, so that a refusal can take everything back and an event can say
    what changed.
    """

    account: Account
    ids: Ids = field(repr=False)
    clock: Clock = field(repr=False)
    happenings: list[Happening] = field(default_factory=list, repr=False)
    agenda: list[tuple[int, Job]] = field(default_factory=list, repr=False)
    afterwards: list[tuple[Job, str]] = field(default_factory=list, repr=False)
    _before: dict[tuple[str, str], Row | None] = field(default_factory=dict, repr=False)

    @property
    def now(self) -> int:
        """The time, in seconds since 1970."""
        return self.clock.timestamp

    def new_id(self, kind: Kind) -> str:
        """Return an id for a new object of *kind*."""
        return self.ids.new(kind.prefix, kind.length)

    def add(self, row: Row) -> Row:
        """Keep a new row, under its ``object`` and ``id``."""
        self._before[row["object"], row["id"]] = None
        self.account.table(row["object"])[row["id"]] = row
        return row

    def change(self, row: Row) -> Row:
        """Return *row*, which may be changed from now on."""
        self._before.setdefault((row["object"], row["id"]), copied(row))
        return row

    def get(self, kind: str, identity: str) -> Row | None:
        """Return a row, or ``None`` if there is none or it was deleted."""
        row = self.account.table(kind).get(identity)
        return None if row is None or row.get("deleted") else row

    def find(self, kind: str, identity: str, param: str | None = None) -> Row:
        """Return a row that the path names, or *param*. Refuses as Stripe does if there is none."""
        row = self.get(kind, identity)
        if row is None:
            raise no_such(kind, identity, param)
        return row

    def rows(self, kind: str) -> Iterator[Row]:
        """Yield the rows of a kind, newest first."""
        return reversed(self.account.table(kind).values())

    def emit(self, type: str, row: Row) -> None:
        """Record that something happened to *row*, as it is now. An update says what it changed from."""
        previous = self._changes(row) if type.endswith((".updated", ".refunded")) else None
        self.happenings.append(Happening(type, copied(shown(row)), previous))

    def at(self, when: int, job: Job) -> None:
        """Let *job* happen by itself at *when*, if this work is kept."""
        self.agenda.append((when, job))

    def after(self, job: Job, account: str | None = None) -> None:
        """Let *job* happen by itself right after this work was answered, here or in another *account*."""
        self.afterwards.append((job, account or self.account.id))

    def changed(self, row: Row) -> bool:
        """Return whether *row* is other than before this work."""
        return bool(self._changes(row))

    def before(self) -> Iterable[tuple[tuple[str, str], Row | None]]:
        """Return the kinds and ids of the rows that this work has touched, each with how it was, ``None`` if it was not there."""
        return self._before.items()

    def take_back(self) -> None:
        """Undo everything."""
        for (kind, identity), row in self._before.items():
            if row is None:
                del self.account.table(kind)[identity]
            else:
                self.account.table(kind)[identity] = row

    def _changes(self, row: Row) -> Row:
        before = self._before.get((row["object"], row["id"]))
        return {} if before is None else differences(shown(before), shown(row))


def differences(before: Row, after: Row) -> Row:
    """
    Return the old values of what changed. Objects are compared field by field, a list counts as one value.

    A key that is new in the caller's own map was ``None``. Source: https://docs.stripe.com/api/events/object#event_object-data-previous_attributes
    """
    changes: dict[str, Any] = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new and (name in before) == (name in after):
            continue
        changes[name] = differences(old, new) if isinstance(old, dict) and isinstance(new, dict) else copied(old)
    return changes
