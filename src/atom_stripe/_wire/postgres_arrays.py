"""
Lists as PostgreSQL reads them.

psycopg can write them too, but looks at each value of each list for its type: with some dozen values for each event that takes longer than
everything else that a batch of events costs here.
Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BYTEA, BYTEA_ARRAY = 17, 1001  # the types' numbers
_HEAD = struct.Struct("!iiIii")  # dimensions, whether there are nulls, the type, how many, the first one's number
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


class Binary(NamedTuple):
    """A ``bytea[]`` in PostgreSQL's binary format."""

    content: bytes


def texts(values: Sequence[str | None]) -> str:
    """Return *values* as a literal of ``text[]``."""
    plain = "".join(filter(None, values))
    if '"' in plain or "\\" in plain:
        values = [value and value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return _array(["NULL" if value is None else f'"{value}"' for value in values])


def numbers(values: Iterable[float | None]) -> str:
    """Return *values* as a literal of ``float8[]``, exactly."""
    return _array(["NULL" if value is None else repr(value) for value in values])


def flags(values: Iterable[bool]) -> str:
    """Return *values* as a literal of ``boolean[]``."""
    return _array(["t" if value else "f" for value in values])


def contents(values: Sequence[bytes | None]) -> Binary:
    """Return *values* as a ``bytea[]``. Each is copied once."""
    parts = [_HEAD.pack(1, None in values, _BYTEA, len(values), 1)]
    for value in values:
        parts += (_NULL,) if value is None else (_LENGTH.pack(len(value)), value)
    return Binary(b"".join(parts))


def _array(values: Iterable[str]) -> str:
    return f"{{{','.join(values)}}}"
