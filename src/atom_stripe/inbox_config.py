"""The settings of a ``WebhookInbox``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from atom_stripe.config import is_finite, is_whole
from atom_stripe.errors import ConfigurationError

Ordering = Literal["object", "none"]
"""``"object"``: one event of an object at a time, in the order of arrival; ``"none"``: a failure holds up nothing but its own event."""

VersionPolicy = Literal["accept", "refetch", "park"]
"""
What to do with an event that was written in another major version of Stripe's API than ours. ``"accept"``: hand it over as it is, for the models'
readers bridge most differences; ``"refetch"``: hand it over with the object as Stripe has it now, in our version; ``"park"``: set it aside.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRetry:
    """
    How often a handler is tried with one event, and when.

    *attempts*: how often at most; then the event is parked. *initial_delay*, *max_delay*: seconds before the second attempt and the longest wait,
    which doubles in between. *jitter*: the share of each wait that is random, so that events which failed together do not come back together.
    """

    attempts: int = 10
    initial_delay: float = 5.0
    max_delay: float = 3600.0
    jitter: float = 0.5

    DEFAULT: ClassVar[HandlerRetry]
    NONE: ClassVar[HandlerRetry]

    def __post_init__(self) -> None:
        if not (is_whole(self.attempts) and self.attempts >= 1):
            msg = "a HandlerRetry needs at least one attempt"
            raise ConfigurationError(msg)
        delays = is_finite(self.initial_delay) and is_finite(self.max_delay) and min(self.initial_delay, self.max_delay) >= 0
        if not (delays and is_finite(self.jitter) and 0 <= self.jitter <= 1):
            msg = "a HandlerRetry needs delays that are not negative, in seconds, and a jitter between 0 and 1"
            raise ConfigurationError(msg)

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after *attempt* (1, 2, …) failed. *chance*: a random number between 0 and 1."""
        # The exponent is bounded so that a policy of a thousand attempts does not overflow.
        full = min(self.initial_delay * 2.0 ** min(attempt - 1, 32), self.max_delay)
        return full * (1.0 - self.jitter * chance)


HandlerRetry.DEFAULT = HandlerRetry()
HandlerRetry.NONE = HandlerRetry(attempts=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxConfig:
    """
    The settings of an inbox. All times are in seconds.

    *livemode*: handle events of this mode alone; those of the other are stored and set aside as discarded, because a Connect endpoint gets
    both. ``None`` handles both and keeps them apart.

    What is let in: *max_body_bytes* and *max_header_length* of one delivery. *queue_length*: how many deliveries wait for the database at most;
    *accept_timeout*: how long one waits. Beyond either Stripe is asked to come back after *retry_after*. *writers*: threads that store
    deliveries; ``None`` for as many as the store has use for: one with SQLite, two with PostgreSQL. *refusals_per_second*: how many refused
    deliveries are written down; more are counted only, so that whoever sends rubbish fills no disk.

    How events are handled: *workers*: threads, and so how many handlers run at once. *lease*: for how long a claim on an event lasts without
    a sign of life. *retry*, *timeout*: of handlers that set none of their own. *overrun*: how much longer than its timeout a sync handler, which
    nobody can stop, keeps its claim. *lane_turn*: how many events of one lane are handled before another lane has its turn. *poll_interval*:
    how often to look for events that other processes stored; *sweep_interval*: how often to look through everything. *grace*: how long stopping waits
    for handlers.
    """

    livemode: bool | None = None
    max_body_bytes: int = 1024 * 1024
    max_header_length: int = 8192
    queue_length: int = 10_000
    accept_timeout: float = 8.0
    writers: int | None = None
    retry_after: float = 5.0
    refusals_per_second: float = 10.0
    workers: int = 8
    lease: float = 30.0
    retry: HandlerRetry = field(default_factory=lambda: HandlerRetry.DEFAULT)
    timeout: float | None = 300.0
    overrun: float = 300.0
    lane_turn: int = 50
    poll_interval: float = 1.0
    sweep_interval: float = 30.0
    grace: float = 25.0

    def __post_init__(self) -> None:
        if self.livemode is not None and not isinstance(self.livemode, bool):
            msg = "livemode is True, False, or None for both modes"
            raise ConfigurationError(msg)
        for name in ("max_body_bytes", "max_header_length", "queue_length", "writers", "workers", "lane_turn"):
            value = getattr(self, name)
            if not (is_whole(value) and value >= 1) and (name, value) != ("writers", None):
                msg = f"{name} must be a whole number above 0"
                raise ConfigurationError(msg)
        for name in ("accept_timeout", "lease", "poll_interval", "sweep_interval"):
            value = getattr(self, name)
            if not (is_finite(value) and value > 0):
                msg = f"{name} must be a number of seconds above 0"
                raise ConfigurationError(msg)
        for name in ("retry_after", "refusals_per_second", "overrun", "grace"):
            value = getattr(self, name)
            if not (is_finite(value) and value >= 0):
                msg = f"{name} must be a number that is not negative"
                raise ConfigurationError(msg)
        if not isinstance(self.retry, HandlerRetry):
            msg = "retry is a HandlerRetry"
            raise ConfigurationError(msg)
        check_timeout(self.timeout)


def check_timeout(value: object) -> None:
    """Raise ``ConfigurationError`` for what is no handler's timeout."""
    if value is not None and not (is_finite(value) and value > 0):
        msg = "a handler's timeout is a number of seconds above 0, or None for no limit"
        raise ConfigurationError(msg)
