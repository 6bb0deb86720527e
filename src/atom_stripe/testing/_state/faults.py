"""
Faults on demand: the next request meets a limit, an outage or a broken connection.

Source of the answers: https://docs.stripe.com/error-low-level and https://docs.stripe.com/rate-limits
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.bad_deliveries import DeliveryFaults
from atom_stripe.testing._state.errors import Refusal

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_CODES = {429: "rate_limit"}
_LONGEST_DELAY = 60.0

Reason = Literal["global-rate", "global-concurrency", "endpoint-rate", "endpoint-concurrency", "resource-specific"]


class LostAnswerError(Exception):
    """No answer arrives. *timed_out*: the caller waited in vain; otherwise the connection broke."""

    def __init__(self, *, timed_out: bool) -> None:
        super().__init__("the caller waits in vain" if timed_out else "the connection breaks")
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Fault:
    """
    What one request will meet.

    *done*: the work is done first, and the caller does not hear of it. *kept*: it is not done, and an idempotency key keeps that. *delay*: the
    caller hears of it late.
    """

    operation: str | None
    status: int | None
    reason: str | None
    code: str | None
    timed_out: bool
    done: bool
    body: bytes | None = field(default=None, repr=False)
    delay: float | None = None
    kept: bool = False

    @property
    def reaches(self) -> bool:
        """Whether the request gets as far as its operation before this strikes."""
        return self.done or self.kept

    def matches(self, method: str, path: str) -> bool:
        """Return whether this waits for a request like that."""
        return self.operation is None or f"{method} {path}".startswith(self.operation)

    def strike(self) -> Refusal | LostAnswerError | None:
        """Return what the caller gets to see in place of an answer, ``None`` if there will be one."""
        if self.body is not None or self.delay is not None:
            return None
        if self.status is None:
            return LostAnswerError(timed_out=self.timed_out)
        code = self.code or _CODES.get(self.status)
        headers = {"Stripe-Rate-Limited-Reason": self.reason} if self.reason else {}
        if code == "lock_timeout":
            # An object that another request holds: no limiter, and worth trying again. Source: https://docs.stripe.com/rate-limits
            headers["Stripe-Should-Retry"] = "true"
        kind = "api_error" if self.status >= _SERVER_ERROR else "invalid_request_error"
        return Refusal(self.status, "The sandbox was told to fail this request.", type=kind, code=code, headers=headers)


class Faults(DeliveryFaults):
    """The faults of a sandbox: those of ``next()`` are for one request each, first come, first served; the others are for webhooks."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def next(
        self,
        *,
        status: int | None = None,
        reason: Reason | None = None,
        code: str | None = None,
        timeout: bool = False,
        drop: bool = False,
        drop_after: bool = False,
        body: bytes | None = None,
        delay: float | None = None,
        done: bool = False,
        kept: bool = False,
        times: int = 1,
        operation: str | None = None,
    ) -> None:
        """
        Let the next request fail, or the next *times* of them.

        *status*: answer this instead of working, 400 to 599; with 429, *reason* is the ``Stripe-Rate-Limited-Reason``, and
        ``code="lock_timeout"`` is a lock and no limit. *timeout*: never answer. *drop*: break the connection before the work, *drop_after* after
        it. *body*: answer 200 with these bytes, which need not be JSON, instead of working. *delay*: do the work, and answer this many seconds
        later, 60 at most; until then the idempotency key is in use. *done*: do the work before the *status*, *timeout* or *body*; under an
        idempotency key the same status then comes back each time, as a 500 of Stripe's does, while an answer that was lost or broken comes
        back whole. *kept*: fail with the *status* once the operation has begun and before it did anything, which an idempotency key keeps as
        well. *operation*: wait for a request like ``"POST /v1/refunds"``, by its beginning.

        Raises:
            ConfigurationError: These do not go together.
        """
        if sum((status is not None, timeout, drop, drop_after, body is not None, delay is not None)) != 1:
            msg = "a fault is one of status=, timeout=, drop=, drop_after=, body= and delay="
            raise ConfigurationError(msg)
        if delay is not None and not 0 <= delay <= _LONGEST_DELAY:
            msg = f"a fault's delay is 0 to {_LONGEST_DELAY:.0f} seconds"
            raise ConfigurationError(msg)
        if status is not None and not 400 <= status <= 599:
            msg = "a fault's status is 400 to 599"
            raise ConfigurationError(msg)
        if reason is not None and status != _TOO_MANY_REQUESTS:
            msg = "only a 429 has a reason"
            raise ConfigurationError(msg)
        if kept and (status is None or done):
            msg = "kept= goes with status= and without done=: the work was not done, and the key keeps that"
            raise ConfigurationError(msg)
        fault = Fault(operation, status, reason, code, timeout, done or drop_after or delay is not None, body, delay, kept)
        with self._lock:
            self._waiting += [fault] * times

    def clear(self) -> None:
        """Forget what is still waiting for a request. Those of webhooks end with ``deliveries_clear()``."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Remove and return the fault that a request meets."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.matches(method, path):
                    return self._waiting.pop(index)
        return None

    def delays(self, method: str, path: str) -> bool:
        """Return whether the next request like that would be answered late."""
        with self._lock:
            found = next((fault for fault in self._waiting if fault.matches(method, path)), None)
        return found is not None and found.delay is not None

    def __len__(self) -> int:
        """Return how many faults are still waiting for a request."""
        return len(self._waiting)
