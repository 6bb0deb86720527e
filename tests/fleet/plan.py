"""What is sent, and what becomes of it: decided by a seed, so that senders, handlers and the checker agree without asking each other."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from atom_stripe import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

# Types of events, and how many of a hundred are of each.
TYPES = {"customer.subscription.updated": 60, "invoice.paid": 20, "invoice.payment_failed": 20}


STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Rule:
    """One handler. *troubled*: how many of a thousand of its events fail before they succeed; *hopeless*: how many never do."""

    types: tuple[str, ...]
    ordering: Literal["object", "none"]
    attempts: int
    troubled: int = 0
    hopeless: int = 0
    slow: int = 0

    def wants(self, type_: str) -> bool:
        return "*" in self.types or type_ in self.types


HANDLERS = {
    "ledger": Rule(("*",), "object", attempts=15, troubled=20, slow=5),
    "books": Rule(("invoice.paid",), "object", attempts=4, hopeless=10),
    "mail": Rule(("invoice.payment_failed",), "none", attempts=15, troubled=100, slow=10),
}


@dataclass(frozen=True, slots=True)
class Fate:
    """
    How one handler fares with one event. *failures*: how many attempts fail first. *way*: how they fail. *hopeless*: no attempt succeeds. *slow*:
    seconds that it takes; *stuck*: those of its first attempt.
    """

    failures: int = 0
    way: Literal["raise", "retry", "park"] = "raise"
    hopeless: bool = False
    slow: float = 0.0
    stuck: float = 0.0

    def seconds(self, attempt: int) -> float:
        """Return how long an attempt takes."""
        return self.stuck if attempt == 1 and self.stuck else self.slow

    def fails(self, attempt: int) -> bool:
        return self.hopeless or attempt <= self.failures


@lru_cache(maxsize=4096)
def fate(event_id: str, handler: str) -> Fate:
    """Return how *handler* fares with the event."""
    rule, chance = HANDLERS[handler], random.Random(f"{event_id} {handler}")
    if STUCK in event_id and handler == "ledger":
        return Fate(stuck=30.0)
    way, failures = chance.choice(("raise", "retry")), chance.randint(1, 2)
    slow = chance.uniform(0.05, 0.3) if chance.randrange(1000) < rule.slow else 0.0
    if chance.randrange(1000) < rule.hopeless:
        return Fate(way=chance.choice(("raise", "park")), hopeless=True, slow=slow)
    return Fate(failures=failures if chance.randrange(1000) < rule.troubled else 0, way=way, slow=slow)


def wanted(type_: str) -> frozenset[str]:
    """Return the handlers of events of *type_*."""
    return frozenset(name for name, rule in HANDLERS.items() if rule.wants(type_))


@dataclass(frozen=True, slots=True)
class Planned:
    """An event to send. *copies*: how often at once. *again*: how often more when it has been answered."""

    id: str
    type: str
    copies: int
    again: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """
    *events* events of one round over *lanes* subscriptions, one of which has a tenth of them. No two rounds have one in common.

    *stuck*: the first attempt of the ledger hangs.
    """

    round: int
    events: int
    lanes: int
    seed: int = 0
    stuck: bool = False

    def __iter__(self) -> Iterator[Planned]:
        chance = random.Random(f"{self.seed} {self.round}")
        types, weights = list(TYPES), list(TYPES.values())
        for number in range(self.events):
            lane = 0 if chance.random() < 0.1 else chance.randrange(self.lanes)
            (type_,) = chance.choices(types, weights)
            name = f"{self.round}_{STUCK if self.stuck else self.seed}_{number:06}"
            yield Planned(
                id=f"evt_{name}",
                type=type_,
                copies=chance.choice((2, 3, 5)) if chance.random() < 0.03 else 1,
                again=1 if chance.random() < 0.03 else 0,
                body=body(name, type_, f"sub_{self.round}_{lane}"),
            )


def body(name: str, type_: str, subscription: str) -> bytes:
    """Return an event in Stripe's shape. What is of one subscription is of one lane, its invoices too."""
    about: dict[str, object] = {"id": subscription, "object": "subscription", "status": "active"}
    if type_.startswith("invoice."):
        parent = {"type": "subscription_details", "subscription_details": {"subscription": subscription}}
        about = {"id": f"in_{name}", "object": "invoice", "currency": "eur", "amount_due": 1200, "parent": parent}
    about["metadata"] = {"note": "x" * 600}
    event = {
        "id": f"evt_{name}",
        "object": "event",
        "api_version": API_VERSION,
        "created": 1_790_000_000,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "type": type_,
    }
    return json.dumps(event).encode()


def round_of(event_id: str) -> int:
    """Return the round that an event is of."""
    return int(event_id.split("_")[1])
