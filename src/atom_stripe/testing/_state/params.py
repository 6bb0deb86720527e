"""
What an operation takes, declared: each parameter has a kind that reads it or refuses it as Stripe would.

An empty string unsets a field where it can be unset. What is not declared is refused: as unknown if Stripe does not know it
either, by name if Stripe does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from atom_stripe.testing._state import known
from atom_stripe.testing._state.currencies import check_currency
from atom_stripe.testing._state.errors import empty, invalid, missing, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTEGER = re.compile(r"[+-]?\d{1,19}")
_LONGEST_LIST = 100
_MOST_METADATA = 50
_LONGEST_KEY = 40
_LONGEST_VALUE = 500


class Parameter(Protocol):
    """How a parameter is read. *name* is its full name, for errors: ``shipping[address][line1]``."""

    @property
    def required(self) -> bool: ...

    @property
    def unsettable(self) -> bool: ...

    def read(self, value: Any, name: str) -> Any: ...


class UndeclaredParameterError(Exception):
    """A parameter that the operation does not declare. *path*: its name, level by level."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(spell(path))
        self.path = path


def spell(path: tuple[str, ...]) -> str:
    """Return the name of a parameter as Stripe writes it: ``a[b][c]``."""
    return path[0] + "".join(f"[{part}]" for part in path[1:])


def read(kinds: Mapping[str, Parameter], raw: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """
    Return the parameters in *raw* as *kinds* read them. What was not sent is not in the result, and what was unset is ``None``.

    Unknown names are refused before wrong values are, and those before missing ones.
    """
    for name in raw:
        if name not in kinds:
            raise UndeclaredParameterError(_split(_join(parent, name)))
    values: dict[str, Any] = {}
    for name, value in raw.items():
        kind, full = kinds[name], _join(parent, name)
        if value == "" and not kind.unsettable:
            raise empty(full)
        values[name] = None if value == "" else kind.read(value, full)
    for name, kind in kinds.items():
        if kind.required and name not in raw:
            raise missing(_join(parent, name))
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Any text up to a length."""

    longest: int = 5000
    required: bool = False
    unsettable: bool = True

    def read(self, value: Any, name: str) -> str:
        text = _scalar(value, name)
        if len(text) > self.longest:
            raise invalid(
                f"{name} may have up to {self.longest} characters; this has {len(text)}.",
                name,
                code="parameter_invalid_string_too_long",
            )
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Id(Text):
    """The id of an object. Whether there is one, the operation says."""

    longest: int = 255
    unsettable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number."""

    least: int = -(2**53)
    most: int = 2**53
    required: bool = False
    unsettable: bool = False

    def read(self, value: Any, name: str) -> int:
        text = _scalar(value, name)
        if not _INTEGER.fullmatch(text) or not text.isascii():
            raise invalid(f"{name} must be an integer.", name, code="parameter_invalid_integer")
        number = int(text)
        if not self.least <= number <= self.most:
            limit = f"at least {self.least}" if number < self.least else f"at most {self.most}"
            raise invalid(f"{name} must be {limit}.", name, code="parameter_invalid_integer")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    """``true`` or ``false``, in lower case: Stripe takes nothing else."""

    required: bool = False
    unsettable: bool = False

    def read(self, value: Any, name: str) -> bool:
        text = _scalar(value, name)
        if text not in {"true", "false"}:
            raise invalid(f"{name} must be true or false.", name)
        return text == "true"


@dataclass(frozen=True, slots=True)
class Choice:
    """
    One of some words.

    *beyond*: the operation and parameter where Stripe lists more words than these; those are refused by name.
    """

    words: tuple[str, ...]
    required: bool = field(default=False, kw_only=True)
    unsettable: bool = field(default=False, kw_only=True)
    beyond: tuple[str, ...] | None = field(default=None, kw_only=True)

    def read(self, value: Any, name: str) -> str:
        """Return the word."""
        text = _scalar(value, name)
        if text not in self.words:
            if self.beyond and text in known.words(*self.beyond):
                raise unsupported(f"The value {text} of {name}", name)
            raise invalid(f"{name} must be one of {', '.join(self.words)}.", name)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """A currency's code in letters of any case; Stripe answers in lower case."""

    required: bool = False
    unsettable: bool = False

    def read(self, value: Any, name: str) -> str:
        return check_currency(_scalar(value, name), name)


@dataclass(frozen=True, slots=True)
class Hash:
    """An object with declared fields."""

    fields: Mapping[str, Parameter]
    required: bool = field(default=False, kw_only=True)
    unsettable: bool = field(default=False, kw_only=True)

    def read(self, value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object: write {name}[field]=value.", name)
        return read(self.fields, value, name)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, written with indexes or with empty brackets."""

    entry: Parameter
    required: bool = field(default=False, kw_only=True)
    unsettable: bool = field(default=False, kw_only=True)

    def read(self, value: Any, name: str) -> list[Any]:
        if isinstance(value, dict) and all(key.isascii() and key.isdigit() for key in value):
            entries = [value[key] for key in sorted(value, key=int)]
        elif isinstance(value, list):
            entries = value
        else:
            raise invalid(f"{name} must be a list: write {name}[0]=value.", name)
        if len(entries) > _LONGEST_LIST:
            raise invalid(f"{name} may have up to {_LONGEST_LIST} entries.", name)
        if "" in entries:
            raise empty(f"{name}[{entries.index('')}]")
        return [self.entry.read(entry, f"{name}[{index}]") for index, entry in enumerate(entries)]


@dataclass(frozen=True, slots=True)
class Either:
    """An object where one was sent, and a plain value otherwise: ``created=5`` or ``created[gt]=5``."""

    plain: Parameter
    hashed: Parameter
    required: bool = field(default=False, kw_only=True)
    unsettable: bool = field(default=False, kw_only=True)

    def read(self, value: Any, name: str) -> Any:
        return (self.hashed if isinstance(value, dict) else self.plain).read(value, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """
    The caller's own keys and values. Reads to what is to be changed: a key with ``None`` goes.

    Limits: 50 keys of 40 characters, values of 500. Source: https://docs.stripe.com/metadata
    """

    required: bool = False
    unsettable: bool = True

    def read(self, value: Any, name: str) -> dict[str, str | None]:
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object: write {name}[key]=value.", name)
        for key, entry in value.items():
            if not isinstance(entry, str):
                raise invalid(f"{name} has text as values, nothing nested.", f"{name}[{key}]")
            if len(key) > _LONGEST_KEY:
                raise invalid(f"A key of {name} may have up to {_LONGEST_KEY} characters; this has {len(key)}.", name)
            if len(entry) > _LONGEST_VALUE:
                raise invalid(
                    f"A value of {name} may have up to {_LONGEST_VALUE} characters; this has {len(entry)}.", f"{name}[{key}]"
                )
        return {key: entry or None for key, entry in value.items()}


def merged(old: Mapping[str, str], change: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return metadata after a change: keys that were not sent stay, empty ones go, and ``None`` for the whole clears it."""
    result = {} if change is None else {**old}
    for key, value in (change or {}).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    if len(result) > _MOST_METADATA:
        raise invalid(f"An object has up to {_MOST_METADATA} keys of metadata.", "metadata")
    return result


def _scalar(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise invalid(f"{name} must be a single value.", name)


def _join(parent: str, name: str) -> str:
    return f"{parent}[{name}]" if parent else name


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.rstrip("]") for part in name.split("["))
