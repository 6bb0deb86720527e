"""How deliveries get into the database: in as few round trips as it can be done, and more where something is out of the ordinary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from atom_stripe.errors import StoreError
from atom_stripe.protocols import Appended, Arrival, SqlWake
from atom_stripe.stores._sql.ingest import STORING, Ingest
from atom_stripe.stores._sql.ingest_postgres import store_at_once
from atom_stripe.stores._sql.statements import POSTGRESQL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import Refusal, Wake
    from atom_stripe.stores._sql.database import Database
    from atom_stripe.stores._sql.inbox_statements import InboxStatements
    from atom_stripe.stores._sql.sessions import Session

    Results = list[Appended | StoreError | None]

T = TypeVar("T")


class Writes(Protocol):
    """What runs transactions."""

    def run(self, work: Callable[[Session], T], doing: str) -> T: ...


class Appending:
    """Stores deliveries in *database*. *writes*: runs the transactions."""

    def __init__(self, database: Database, writes: Writes, statements: InboxStatements) -> None:
        self._database = database
        self._writes = writes
        self._ingest = Ingest(statements)
        self._is_postgres = database.dialect == POSTGRESQL

    def append(self, batch: Sequence[Arrival | Refusal], wake: Wake | None) -> Results:
        """
        Store *batch*, and return for each what became of it.

        Raises:
            StoreError: Nothing was stored, or that is not known.
        """
        results = self._at_once(batch, wake)
        rest = [place for place, result in enumerate(results) if result is None]
        if not rest:
            return results
        try:
            found = self._in_transaction([batch[place] for place in rest], wake)
        except StoreError as error:
            if len(rest) == len(batch):
                raise
            # The others are stored.
            found = [StoreError(str(error), retryable=error.retryable) for _ in rest]
        for place, result in zip(rest, found, strict=True):
            results[place] = result
        return results

    def _at_once(self, batch: Sequence[Arrival | Refusal], wake: Wake | None) -> Results:
        """
        Store what is new of *batch* in one statement, if that can be, and return what became of it.

        ``None``: somebody has to look at this one; for instance, it was here before.
        """
        results: Results = [None] * len(batch)
        if not self._is_postgres or not (wake is None or isinstance(wake, SqlWake)):
            return results
        if not all(isinstance(arrival, Arrival) for arrival in batch):
            return results
        arrivals = cast("Sequence[Arrival]", batch)
        try:
            rows = self._database.at_once(store_at_once(arrivals, None if wake is None else wake.sql), STORING)
        except StoreError as error:
            if error.retryable:
                raise
            return results
        for place, id_ in rows:
            results[place - 1] = Appended("stored", id_, arrivals[place - 1].lane)
        return results

    def _in_transaction(self, batch: Sequence[Arrival | Refusal], wake: Wake | None) -> Results:
        try:
            return self._writes.run(lambda session: self._ingest.together(session, batch, wake), STORING)
        except StoreError as error:
            if error.retryable:
                raise
        return self._writes.run(lambda session: self._ingest.apart(session, batch, wake), STORING)
