"""Where the sandbox keeps its rows: one account after another, one table for each kind of object, in order of creation."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.idempotency import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atom_stripe.testing._state.transaction import Transaction

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of object: how Stripe names it, how its ids begin and how long they are after that.

    *expands*: the fields that hold an id and can be expanded, each with the kind it points to. *includes*: the fields that are there only
    when they are expanded, each with what makes it. *refuses*: the fields that Stripe could expand and the sandbox cannot, unless they are
    null. Fields of objects inside are written with dots.
    """

    name: str
    prefix: str
    length: int = 24
    expands: Mapping[str, str] = field(default_factory=dict)
    includes: Mapping[str, Callable[[Transaction, Row], Any]] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()


@dataclass(slots=True)
class Account:
    """
    One account of Stripe's and all that belongs to it.

    *platform*: the account that it is connected to. *controller*: whether the platform made it, so that it cannot be disconnected.
    *applications*: the client ids (``ca_…``) of those that it gave access to. *profile*: what was known of it when it was made: ``type``,
    ``email``, ``country`` and ``business_type`` in the words of Stripe's account object, each only if it was given.
    """

    id: str
    platform: str | None = None
    controller: bool = False
    applications: set[str] = field(default_factory=set)
    profile: dict[str, str] = field(default_factory=dict, repr=False)
    tables: dict[str, dict[str, Row]] = field(default_factory=dict, repr=False)
    keys: Keys = field(default_factory=Keys, repr=False)

    def table(self, kind: str) -> dict[str, Row]:
        """Return the rows of a kind, by id, oldest first."""
        return self.tables.setdefault(kind, {})


def shown(row: Row) -> Row:
    """Return *row* without the fields that are the sandbox's own."""
    return {name: value for name, value in row.items() if name[0] != "_"}


def copied(value: Any) -> Any:
    """Return a deep copy of a JSON value."""
    return json.loads(json.dumps(value))
