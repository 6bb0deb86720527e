"""The settings of the HTTP face."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from atom_stripe.config import is_finite, is_whole
from atom_stripe.errors import ConfigurationError

PREFIX = "/api/v1/stripe"
"""Where the service that comes with the package has its routes."""
EVENTS = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
)
"""What that service hears of its own account."""
CONNECT_EVENTS = ("account.application.deauthorized", "account.updated")
"""What it hears of connected accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """
    What the routes let in, and where browsers go.

    *caller_limit*: how many requests each caller may make, such as ``"600/minute"``, with ``;`` between several; *address_limit*: the same for each
    address, where nobody has to say who they are. ``None`` for no limit. Signed webhooks are never limited. *limit_storage*: where is counted:
    ``"memory://"`` for each process by itself, or ``"redis://host:6379/0"`` for all together.

    *max_body_bytes*: of one request, webhooks excepted, whose inbox has its own. *connected_url*: where a browser goes when its user has connected,
    with ``?stripe=connected``, or ``?stripe_error=…`` if it came to nothing; without it, the callback answers JSON. *health_interval*: for how many
    seconds an answer of Stripe's is believed in ``/health/detailed``. *lag_limit*: from how many seconds on a pending event is reported as late.
    """

    caller_limit: str | None = "600/minute"
    address_limit: str | None = "120/minute"
    limit_storage: str = "memory://"
    max_body_bytes: int = 64 * 1024
    connected_url: str | None = None
    health_interval: float = 30.0
    lag_limit: float = 300.0

    def __post_init__(self) -> None:
        if not (is_whole(self.max_body_bytes) and self.max_body_bytes >= 1):
            msg = "max_body_bytes must be a whole number above 0"
            raise ConfigurationError(msg)
        for name in ("health_interval", "lag_limit"):
            value = getattr(self, name)
            if not (is_finite(value) and value > 0):
                msg = f"{name} must be a number of seconds above 0"
                raise ConfigurationError(msg)
        if self.connected_url is not None:
            parts = urlsplit(self.connected_url)
            if not (parts.scheme in {"http", "https"} and parts.netloc) and not (
                self.connected_url.startswith("/") and not parts.netloc
            ):
                msg = "connected_url is a URL like https://example.com/settings, or a path like /settings"
                raise ConfigurationError(msg)
