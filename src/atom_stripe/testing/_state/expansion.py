"""
Expansion: objects in place of their ids, where the caller asks for them.

Paths have up to four levels, of which ``data`` in a list is one. Source: https://docs.stripe.com/api/expanding_objects
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid, unsupported
from atom_stripe.testing._state.store import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atom_stripe.testing._state.store import Kind, Row
    from atom_stripe.testing._state.transaction import Transaction

    Wishes = dict[str, Any]

ANY = "*"
"""For ``Kind.expands``: a field that points to objects of several kinds, told apart by their ids."""

_DEEPEST = 4
_LISTS = frozenset({"list", "search_result"})


def expanded(answer: Row, paths: Iterable[str], kinds: Mapping[str, Kind], transaction: Transaction) -> Row:
    """Return *answer* as the caller sees it: without the sandbox's own fields, with what *paths* ask for in full."""
    return _Expansion(kinds, transaction).object(answer, wishes(paths))


def wishes(paths: Iterable[str]) -> Wishes:
    """Return *paths* as a tree."""
    root: Wishes = {}
    for path in paths:
        parts = path.split(".")
        if not all(parts):
            raise invalid(f"expand holds a malformed path: {path[:255]!r}.", "expand")
        if len(parts) > _DEEPEST:
            raise invalid(f"expand goes down to {_DEEPEST} levels, and data is one of them.", "expand")
        node = root
        for part in parts:
            node = node.setdefault(part, {})
    return root


class _Expansion:
    def __init__(self, kinds: Mapping[str, Kind], transaction: Transaction) -> None:
        self._kinds = kinds
        self._transaction = transaction

    def object(self, row: Row, wanted: Wishes) -> Row:
        if row.get("object") in _LISTS:
            return self._list(row, wanted)
        kind = self._kinds.get(row.get("object", ""))
        result = shown(row)
        for name, deeper in wanted.items():
            if kind is None or row.get("deleted"):
                raise _not_expandable(name)
            result[name] = self._field(kind, row, name, row.get(name), deeper)
        return result

    def _list(self, row: Row, wanted: Wishes) -> Row:
        for name in wanted:
            if name != "data":
                raise _not_expandable(name, hint=f"data.{name}")
        return {**row, "data": [self.object(entry, wanted.get("data", {})) for entry in row["data"]]}

    def _field(self, kind: Kind, row: Row, path: str, value: Any, wanted: Wishes) -> Any:
        """Return what stands at *path* of *row*, where *value* stands now."""
        if path in kind.refuses:
            # What is empty here is empty at Stripe, too.
            if value is None and path.partition(".")[0] in row:
                return None
            raise unsupported(f"Expanding {path} of a {kind.name}", "expand")
        if path in kind.includes:
            included = kind.includes[path](self._transaction, row)
            return None if included is None else self.object(included, wanted)
        if path in kind.expands:
            return self._target(kind.expands[path], value, wanted)
        if wanted and isinstance(value, dict) and (value.get("object") in _LISTS or value.get("object") in self._kinds):
            # It is there in full already, with fields of its own to expand: the price of an item.
            return self.object(value, wanted)
        inside = [name for name in (*kind.expands, *kind.includes, *kind.refuses) if name.startswith(f"{path}.")]
        if not inside or not wanted:
            raise _not_expandable(path)
        result = dict(value or {})
        for name, deeper in wanted.items():
            grown = self._field(kind, row, f"{path}.{name}", result.get(name), deeper)
            if value is not None:
                result[name] = grown
        return value if value is None else result

    def _target(self, kind: str, value: Any, wanted: Wishes) -> Any:
        if value is None:
            return None
        if kind == ANY:
            kind = next((name for name, entry in self._kinds.items() if value.startswith(f"{entry.prefix}_")), "")
        row = self._transaction.account.table(kind).get(value)
        return value if row is None else self.object(row, {} if row.get("deleted") else wanted)


def _not_expandable(name: str, hint: str | None = None) -> Exception:
    advice = f" In a list, ask for {hint}." if hint else ""
    return invalid(f"The property {name[:255]!r} cannot be expanded here.{advice}", "expand")
