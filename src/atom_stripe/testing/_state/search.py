"""
Stripe's search language: ``email:"jenny@example.com" AND metadata["order"]:"42"``.

Clauses are joined by AND, which may be left out, or by OR, never both, and ``-`` turns one around. Text is compared whatever its case; ``~`` looks
for a part of at least three characters in names and descriptions, ``>`` and the like compare numbers. Source: https://docs.stripe.com/search#search-query-language
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from atom_stripe.testing._state.errors import Refusal, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atom_stripe.testing._state.store import Row

_CLAUSE = re.compile(
    r"""\s*(?P<negated>-?)
        (?:metadata\[(?P<q>["'])(?P<key>[^"']{1,40})(?P=q)\]|(?P<field>[a-z_][a-z0-9_.]*))
        \s*(?P<operator>:|~|>=|<=|>|<)\s*
        (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s"']+))\s*""",
    re.VERBOSE,
)
_JOINT = re.compile(r"(and|or)\b", re.IGNORECASE)
_ORDERS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_SHORTEST_PART = 3
_LONGEST_NUMBER = 20
_DEFAULT_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Field:
    """
    What can be searched by: text that is compared as a whole, or also in parts, or a number.

    *path*: where it stands in the object, if it is not its name that says so.
    """

    kind: Literal["token", "string", "number"] = "token"
    path: str | None = None


_METADATA = Field()


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on a field, or on a key of the metadata."""

    path: tuple[str, ...]
    operator: str
    value: str | None
    negated: bool

    def holds(self, row: Row) -> bool:
        """Return whether *row* meets it."""
        found: Any = row
        for part in self.path:
            found = found.get(part) if isinstance(found, dict) else None
        return self._compare(found) != self.negated

    def _compare(self, found: Any) -> bool:
        if self.value is None or found is None:
            return self.value is None and found is None
        if self.operator in _ORDERS:
            return bool(_ORDERS[self.operator](int(found), int(self.value)))
        text = (str(found).lower() if isinstance(found, bool) else str(found)).casefold()
        return self.value.casefold() in text if self.operator == "~" else self.value.casefold() == text


def search(rows: Iterable[Row], params: dict[str, Any], *, fields: Mapping[str, Field], url: str) -> Row:
    """Return the page of *rows* that *params* ask for."""
    clauses, every = _parse(params["query"], fields)
    matches = all if every else any
    found = [row for row in rows if matches(clause.holds(row) for clause in clauses)]
    start, limit = _offset(params.get("page")), params.get("limit", _DEFAULT_LIMIT)
    has_more = len(found) > start + limit
    return {
        "object": "search_result",
        "data": found[start : start + limit],
        "has_more": has_more,
        "next_page": f"page_{start + limit}" if has_more else None,
        "url": url,
    }


def _parse(query: str, fields: Mapping[str, Field]) -> tuple[list[Clause], bool]:
    clauses: list[Clause] = []
    joints: set[str] = set()
    position, expects_more = 0, True
    while expects_more and (match := _CLAUSE.match(query, position)):
        clauses.append(_clause(match, fields))
        position = match.end()
        joint = _JOINT.match(query, position)
        # Without a word between them, clauses are joined by AND.
        expects_more = joint is not None or position < len(query)
        if expects_more:
            joints.add(joint[1].lower() if joint else "and")
        if joint:
            position = joint.end()
    if position != len(query) or expects_more or len(joints) > 1:
        raise _malformed("it is not made of clauses like name:'value', joined by AND or by OR")
    return clauses, "or" not in joints


def _clause(match: re.Match[str], fields: Mapping[str, Field]) -> Clause:
    name, sign = match["field"], match["operator"]
    if name is not None and name not in fields:
        raise _malformed(f"{name[:100]!r} cannot be searched by")
    field = _METADATA if name is None else fields[name]
    quoted = match["double"] if match["double"] is not None else match["single"]
    value: str | None = match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    is_number = value is not None and value.isascii() and value.isdigit() and len(value) < _LONGEST_NUMBER
    if quoted is None and sign == ":" and str(value).lower() == "null":
        value = None
    elif field.kind == "number" and not is_number:
        raise _malformed(f"{name} is a number")
    if sign in _ORDERS and field.kind != "number":
        raise _malformed(f"{sign} is for numbers")
    if sign == "~" and field.kind != "string":
        raise _malformed("~ is for names and descriptions; this is compared as a whole")
    if sign == "~" and len(value or "") < _SHORTEST_PART:
        raise _malformed(f"~ needs at least {_SHORTEST_PART} characters")
    path = ("metadata", match["key"]) if name is None else tuple((field.path or name).split("."))
    return Clause(path, sign, value, bool(match["negated"]))


def _offset(page: str | None) -> int:
    if page is None:
        return 0
    number = page.removeprefix("page_")
    if number == page or not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise invalid("page is not one that a search gave out.", "page")
    return int(number)


def _malformed(reason: str) -> Refusal:
    return invalid(f"The query cannot be understood: {reason}.", "query")
