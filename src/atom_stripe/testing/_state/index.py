"""
What a search sees: not what there is, but what there was a moment ago.

Source: https://docs.stripe.com/search#data-freshness
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Transaction


class SearchIndex:
    """The index of all accounts. *lag*: how many seconds it is behind."""

    def __init__(self) -> None:
        self.lag = 0
        # How a row was until a moment, oldest first.
        self._before: dict[tuple[str, str, str], list[tuple[int, Row | None]]] = {}

    def note(self, work: Transaction) -> None:
        """Remember how the rows were that *work* has changed."""
        if not self.lag:
            self._before.clear()
            return
        for (kind, identity), row in work.before():
            entries = self._before.setdefault((work.account.id, kind, identity), [])
            entries[:] = [entry for entry in entries if entry[0] > work.now - self.lag]
            entries.append((work.now, row))

    def rows(self, account: Account, kind: str, now: int) -> Iterator[Row]:
        """Yield the rows of a kind as the index has them, newest first."""
        for identity, row in reversed(account.table(kind).items()):
            later = [entry for moment, entry in self._before.get((account.id, kind, identity), ()) if moment > now - self.lag]
            seen = later[0] if later else row
            if seen is not None and not seen.get("deleted"):
                yield seen
