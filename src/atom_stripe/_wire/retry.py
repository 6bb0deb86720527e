"""When a request may be sent again, and how long to wait first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atom_stripe._wire.messages import Reply

# 409: the object or the key is in use. 424: something behind Stripe failed. 429: a limit or a lock.
_TRANSIENT = frozenset({409, 424, 429})
_SERVER_ERROR = 500


def retryable(reply: Reply) -> bool:
    """
    Return whether the same request, under the same idempotency key, may be sent again.

    Stripe's own word comes first. Source: https://docs.stripe.com/error-low-level
    """
    word = reply.headers.get("stripe-should-retry")
    if word == "true":
        return True
    if word == "false":
        return False
    return reply.status >= _SERVER_ERROR or reply.status in _TRANSIENT


def delay(attempt: int, *, initial: float, longest: float, jitter: float) -> float:
    """
    Return the seconds to wait after *attempt* (1, 2, …) failed.

    Twice as long each time, up to *longest*, of which the half is left to *jitter* (0 to 1), so that callers who failed together
    do not come back together.
    """
    # The exponent is bounded so that a policy of a thousand attempts does not overflow.
    full = min(initial * 2.0 ** min(attempt - 1, 32), longest)
    return full * (0.5 + 0.5 * jitter)
