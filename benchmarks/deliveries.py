"""What Stripe would have delivered: any number of events, each with its signature, the same bytes for every contender."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TypeAlias

import payloads
from harness import Unit

EVENTS = Unit("events/s", rate=True)
SECRET = "whsec_00000000000000000000000000"
LANES = 500  # subscriptions, and so how many events can be handled at a time

Delivery: TypeAlias = "tuple[bytes, str]"
"""A body and its ``Stripe-Signature``."""

_TEMPLATE = payloads.invoice_event()
_EVENT = json.loads(_TEMPLATE)
_EVENT_ID: str = _EVENT["id"]
_INVOICE_ID: str = _EVENT["data"]["object"]["id"]
_SUBSCRIPTION_ID: str = _EVENT["data"]["object"]["parent"]["subscription_details"]["subscription"]


def event_id(number: int) -> str:
    """Return the id of the event *number*, as long as Stripe's and in no order, like Stripe's."""
    return f"evt_{hashlib.sha256(str(number).encode()).hexdigest()[:24]}"


def body(number: int) -> bytes:
    """Return the body of the event *number*: an invoice of its own was paid, of one of ``LANES`` subscriptions."""
    changed = _TEMPLATE.replace(_EVENT_ID.encode(), event_id(number).encode())
    changed = changed.replace(_INVOICE_ID.encode(), f"in_{number:024d}".encode())
    return changed.replace(_SUBSCRIPTION_ID.encode(), f"sub_{number % LANES:024d}".encode())


def signed(content: bytes) -> str:
    """Return the header for *content*, signed now."""
    at = int(time.time())
    digest = hmac.digest(SECRET.encode(), b"%d.%b" % (at, content), "sha256")
    return f"t={at},v1={digest.hex()}"


class Deliveries:
    """Hands out events that nobody has seen before."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int) -> list[Delivery]:
        """Return the next *count*."""
        first, self._next = self._next, self._next + count
        bodies = [body(number) for number in range(first, first + count)]
        return [(content, signed(content)) for content in bodies]
