"""
Parameters to bytes: forms for v1, JSON for v2, multipart for files.

Stripe's rules: nested objects are ``a[b]``, lists are indexed ``a[0]``, booleans ``true`` and ``false``, times seconds since 1970,
``""`` clears a field. ``None`` means "not given", in lists too. An empty list or dict would vanish from a form without a word, so it
is refused. Source: https://docs.stripe.com/api
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote_plus

from atom_stripe.errors import EncodingError
from atom_stripe.models.base import View

# Deeper than any of Stripe's parameters, and far from Python's own recursion limit.
_DEEPEST = 32
# Beyond any amount of money; Decimal("1e999999") would otherwise be a megabyte of zeros.
_MOST_DIGITS = 64
_LARGEST = 10**_MOST_DIGITS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def form(params: Mapping[str, Any]) -> str:
    """Return *params* as a form body or a query string, in the order given."""
    try:
        # Brackets stay as they are: Stripe reads both forms, and people read this one in logs.
        return "&".join([f"{quote_plus(key, safe='[]')}={quote_plus(value)}" for key, value in pairs(params)])
    except UnicodeEncodeError:
        raise EncodingError(UNENCODABLE) from None


UNENCODABLE = "a parameter holds half of a surrogate pair, which is no text"


def pairs(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the form fields of *params*, not yet quoted."""
    for key, value in params.items():
        name = key if type(key) is str else name_of(key)
        kind = type(value)
        if kind is str:
            yield name, value
        elif kind is int and -_LARGEST < value < _LARGEST:
            yield name, str(value)
        elif value is not None:
            yield from _fields(name, value, _DEEPEST)


def _fields(key: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    value = _given(value)
    if isinstance(value, (list, tuple, Mapping)):
        if depth == 0:
            msg = f"{key} is nested too deeply"
            raise EncodingError(msg, param=key)
        entries = _entries(key, value)
        for name, entry in entries:
            yield from _fields(f"{key}[{name}]", entry, depth - 1)
    else:
        yield key, scalar(key, value)


def _entries(key: str, value: Any) -> list[tuple[str, Any]]:
    """Return what is given in a list or dict. One that holds nothing is refused: it would not reach Stripe at all."""
    if isinstance(value, (list, tuple)):
        kept = list(enumerate(entry for entry in value if entry is not None))
        entries = [(str(index), entry) for index, entry in kept]
        what, clear = "list", "send '' to clear it"
    else:
        entries = [(name_of(name), entry) for name, entry in value.items() if entry is not None]
        what, clear = "dict", "send '' to clear it"
    if not entries:
        msg = f"{key} is an empty {what}, which a form cannot carry: leave it out, or {clear}"
        raise EncodingError(msg, param=key)
    return entries


def _given(value: Any) -> Any:
    """Return what a parameter stands for: an object of Stripe's for its id, a part of one (an address) for its fields."""
    if isinstance(value, View):
        return value["id"] if "id" in value else value.to_dict()
    return value.value if isinstance(value, Enum) else value


def name_of(key: object) -> str:
    """Return the name of a parameter as a plain string: a member of an enum is printed under another name."""
    if not isinstance(key, str):
        msg = f"parameter names are strings, not {type(key).__name__}"
        raise EncodingError(msg)
    return str.__str__(key)


def scalar(key: str, value: Any) -> str:
    """Return one *value* as the text that Stripe reads, or raise ``EncodingError`` naming *key*."""
    if isinstance(value, str):
        # The text itself, whatever a subclass prints.
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal, float)):
        return _number(key, value)
    if isinstance(value, datetime):
        return str(timestamp(key, value))
    raise _unreadable(key, value)


def _number(key: str, value: float | Decimal) -> str:
    # The float's own repr: numpy's floats print themselves as calls.
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else value
    if not (_short(number) if isinstance(number, Decimal) else -_LARGEST < number < _LARGEST):
        msg = f"{key} is not a number of at most {_MOST_DIGITS} digits"
        raise EncodingError(msg, param=key)
    # Never 1E+3: Stripe reads plain decimals only.
    return f"{number:f}" if isinstance(number, Decimal) else int.__repr__(number)


def _short(number: Decimal) -> bool:
    # NaN cannot be compared, and 1e-999999 would be written out in full: the value itself is not touched.
    _, digits, exponent = number.as_tuple()
    return isinstance(exponent, int) and len(digits) <= _MOST_DIGITS and abs(number.adjusted()) < _MOST_DIGITS


def timestamp(key: str, value: datetime) -> int:
    """Return an aware time as seconds since 1970. A naive one would mean another moment on another machine: refused."""
    if value.utcoffset() is None:
        msg = f"{key} is a time without a zone: give it one, such as datetime.now(UTC)"
        raise EncodingError(msg, param=key)
    # Whole numbers throughout: a float would round the last microseconds of a second up.
    return (value - _EPOCH) // _SECOND


def _unreadable(key: str, value: object) -> EncodingError:
    hint = {
        "date": ": send a datetime with a zone, or seconds since 1970",
        "Money": ": send its .minor",
        "set": ": send a list, which has an order",
    }.get(type(value).__name__, "")
    return EncodingError(f"{key} is a {type(value).__name__}, which Stripe cannot read{hint}", param=key)


def json_body(params: Mapping[str, Any], encodings: Mapping[str, Any] | None = None) -> bytes:
    """
    Return *params* as the JSON of a v2 request.

    ``None`` is sent as ``null``, which clears a field in v2. *encodings* names the fields that Stripe wants as strings.
    """
    try:
        return json.dumps(_plain("", params, encodings or {}, _DEEPEST + 1), separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise EncodingError(UNENCODABLE) from None


def _plain(key: str, value: Any, encoding: Any, depth: int) -> Any:
    value = _given(value)
    if isinstance(value, (list, tuple, Mapping)):
        if depth == 0:
            msg = f"{key} is nested too deeply"
            raise EncodingError(msg, param=key)
        if isinstance(value, (list, tuple)):
            return [_plain(f"{key}[{index}]", entry, encoding, depth - 1) for index, entry in enumerate(value)]
        nested = encoding if isinstance(encoding, dict) else {}
        return {
            name: _plain(f"{key}[{name}]" if key else name, entry, nested.get(name), depth - 1)
            for name, entry in ((name_of(name), entry) for name, entry in value.items())
        }
    if value is None or isinstance(value, (bool, str)):
        return value
    if encoding in ("int64_string", "decimal_string") or isinstance(value, Decimal):
        return scalar(key, value)
    if isinstance(value, (int, float)):
        _number(key, value)
        return value
    if isinstance(value, datetime):
        return timestamp(key, value)
    raise _unreadable(key, value)
