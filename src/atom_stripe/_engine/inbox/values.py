"""What an inbox hands out, and what a handler may raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from atom_stripe.errors import ConfigurationError

UNPARSABLE = "unparsable"
"""The type under which a signed delivery is kept that is not an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """
    That a delivery is safe: answer 200.

    *outcome*: ``"stored"``; ``"duplicate"`` of an event that was stored before; ``"requeued"``, a duplicate of one that was parked, which is tried
    again. *event_id*, *type*: the event's; for signed bytes that are not an event, an id of our own and ``"unparsable"``. *id*: the number
    of the stored row.
    """

    outcome: Literal["stored", "duplicate", "requeued"]
    event_id: str
    type: str
    id: int

    @property
    def duplicate(self) -> bool:
        """Whether the event was there before."""
        return self.outcome != "stored"

    @property
    def unparsable(self) -> bool:
        """Whether the bytes were signed and are not an event: they are kept, and parked for somebody to look at."""
        return self.type == UNPARSABLE


class Retry(Exception):  # noqa: N818 - an instruction, and "raise Retry" reads as one
    """
    Raise it in a handler to be called again with this event.

    *after*: in how many seconds; left out, when the handler's ``HandlerRetry`` says. It counts as an attempt, and what was done on
    ``context.connection`` is undone.
    """

    def __init__(self, message: str = "the handler asked to be called again", *, after: float | None = None) -> None:
        if after is not None and not 0 <= after <= _YEAR:
            msg = "after is a number of seconds, of a year at most"
            raise ConfigurationError(msg)
        super().__init__(message)
        self.after = after


class Park(Exception):  # noqa: N818 - an instruction, and "raise Park" reads as one
    """
    Raise it in a handler to give up on this event: it is parked with *reason* until somebody looks at it or Stripe delivers it again.

    What was done on ``context.connection`` is undone.
    """

    def __init__(self, reason: str = "the handler parked it") -> None:
        super().__init__(reason)
        self.reason = reason


_YEAR = 366 * 24 * 3600.0
