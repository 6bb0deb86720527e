"""Stores in memory, for tests and demos: what they hold ends with the process."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from atom_stripe._engine.process import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe.protocols import Authorization, Reference, TokenQuery, TokenRecord


class _Rows:
    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.records: dict[Reference, TokenRecord] = {}
        self.ids: set[str] = set()
        self.authorizations: dict[str, Authorization] = {}


class MemoryTokenStore:
    """
    A ``TokenStore`` in memory. Not for production: a restart loses every connection, and other processes see none.

    Any number of threads may call. A forked child goes on with a copy. *store*: another store to share the rows of, as two processes share a
    database.
    """

    def __init__(self, store: MemoryTokenStore | None = None) -> None:
        self._rows: _Rows = _Rows() if store is None else store._rows  # noqa: SLF001 - another of this class
        self._records = self._rows.records

    def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*, ``None`` if there is none."""
        # One look-up in a dict needs no lock, and rows are frozen.
        return self._records.get(reference)

    def save(self, record: TokenRecord, /) -> bool:
        """Write *record* as ``TokenStore.save`` says. Returns whether it was written."""
        reference = record.reference
        written = replace(record, version=record.version + 1, read_at=None)
        with self._rows.lock:
            stored = self._records.get(reference)
            if stored is None:
                if record.version != 0 or record.id in self._rows.ids:
                    return False
                self._rows.ids.add(record.id)
            elif stored.version != record.version or stored.id != record.id:
                return False
            self._records[reference] = written
        return True

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for. Looks at every row."""
        with self._rows.lock:
            records = list(self._records.values())
        return sorted((record for record in records if query.matches(record)), key=attrgetter("id"))[: query.limit]

    def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*, ``None`` if there is none."""
        return self._rows.authorizations.get(digest)

    def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization* as ``TokenStore.save_authorization`` says. Returns whether it was written."""
        written = replace(authorization, version=authorization.version + 1, read_at=None)
        with self._rows.lock:
            stored = self._rows.authorizations.get(authorization.digest)
            if (0 if stored is None else stored.version) != authorization.version:
                return False
            self._rows.authorizations[authorization.digest] = written
        return True

    def __repr__(self) -> str:
        """Show how much is stored, and nothing of it."""
        return f"{type(self).__name__}({len(self._records)} connections, {len(self._rows.authorizations)} authorizations)"


class AsyncMemoryTokenStore:
    """
    An ``AsyncTokenStore`` in memory. Not for production, as ``MemoryTokenStore``.

    *store*: a sync store to share the rows of, for programs that have both colours.
    """

    def __init__(self, store: MemoryTokenStore | None = None) -> None:
        self._store = MemoryTokenStore(store)

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*, ``None`` if there is none."""
        return self._store.load(reference)

    async def save(self, record: TokenRecord, /) -> bool:
        """Write *record* as ``TokenStore.save`` says. Returns whether it was written."""
        return self._store.save(record)

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for. Looks at every row."""
        return self._store.find(query)

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*, ``None`` if there is none."""
        return self._store.load_authorization(digest)

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization* as ``TokenStore.save_authorization`` says. Returns whether it was written."""
        return self._store.save_authorization(authorization)

    def __repr__(self) -> str:
        """Show how much is stored, and nothing of it."""
        return repr(self._store).replace("Memory", "AsyncMemory", 1)
