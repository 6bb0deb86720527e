"""What can be set, with a default for everything but the key. ``from_env()`` is the one place that reads the environment."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, Self, TypedDict, TypeGuard

from pydantic import SecretStr

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION = "2026-10-28.endive"
"""The version of Stripe's API that the resources and models of this package were made from."""

_KEY = re.compile(r"(sk|rk|ek|uk)_[A-Za-z0-9_]{8,500}")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,500}")


def is_number(value: object) -> TypeGuard[float]:
    """Return whether *value* is a number; infinity is one, and no limit."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether *value* is a number that is not infinite."""
    return is_number(value) and math.isfinite(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether *value* is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """
    How a call goes on after a failure that allows it.

    *attempts*: how often it is sent at most. *initial_delay*, *max_delay*: seconds before the second attempt and the longest wait;
    the wait doubles in between and half of it is random. *deadline*: seconds for the whole call, waiting included.
    """

    attempts: int = 3
    initial_delay: float = 0.5
    max_delay: float = 8.0
    deadline: float = 120.0

    DEFAULT: ClassVar[RetryPolicy]
    NONE: ClassVar[RetryPolicy]

    def __post_init__(self) -> None:
        delays = is_number(self.initial_delay) and is_number(self.max_delay) and min(self.initial_delay, self.max_delay) >= 0
        if not (is_whole(self.attempts) and self.attempts >= 1 and delays and is_number(self.deadline) and self.deadline > 0):
            msg = "a RetryPolicy needs at least one attempt, no negative delay and a deadline above 0"
            raise ConfigurationError(msg)


RetryPolicy.DEFAULT = RetryPolicy()
# One attempt, as stripe-python's StripeClient does when nothing is set.
RetryPolicy.NONE = RetryPolicy(attempts=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """
    How many requests a second a client sends; more than that wait in line.

    *account*: for one key and account; ``None`` takes Stripe's limit for the key's mode, 100 live and 25 in a sandbox. *endpoint*: for one
    operation. *search*, *files*: for search and for file uploads. *max_wait*: the longest place in the line, in seconds; a call that would
    wait longer fails at once with ``QueueFullError``. After a 429 of Stripe's the rate drops, and recovers within about 20 seconds.

    Source: https://docs.stripe.com/rate-limits
    """

    account: float | None = None
    endpoint: float = 25.0
    search: float = 20.0
    files: float = 20.0
    max_wait: float = 30.0
    enabled: bool = True

    DEFAULT: ClassVar[RateLimits]
    NONE: ClassVar[RateLimits]

    def __post_init__(self) -> None:
        rates = [self.endpoint, self.search, self.files, *([] if self.account is None else [self.account])]
        if not all(is_number(rate) and rate > 0 for rate in rates) or not (is_number(self.max_wait) and self.max_wait >= 0):
            msg = "rate limits are numbers above 0; RateLimits.NONE turns them off"
            raise ConfigurationError(msg)


RateLimits.DEFAULT = RateLimits()
# For servers that are not Stripe: sandboxes, benchmarks.
RateLimits.NONE = RateLimits(enabled=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeConfig:
    """
    The settings of a client.

    *timeout*: seconds for one attempt; *connect_timeout*: of these, for making the connection. *max_response_bytes*: a longer answer is refused.
    *transport*: ``"fast"`` needs ``atom-stripe[fast]``, ``"auto"`` takes it when it is installed. *webhook_secrets*: the signing secrets
    (``whsec_…``) of your webhook endpoints.
    """

    api_key: SecretStr
    stripe_account: str | None = None
    stripe_context: str | None = None
    stripe_version: str = API_VERSION
    timeout: float = 80.0
    connect_timeout: float = 10.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy.DEFAULT)
    rate_limits: RateLimits = field(default_factory=lambda: RateLimits.DEFAULT)
    max_connections: int = 100
    max_response_bytes: int = 64 * 1024 * 1024
    transport: Literal["auto", "httpx", "fast"] = "auto"
    webhook_secrets: tuple[SecretStr, ...] = ()
    api_base: str = "https://api.stripe.com"
    connect_base: str = "https://connect.stripe.com"
    files_base: str = "https://files.stripe.com"
    meter_events_base: str = "https://meter-events.stripe.com"

    def __post_init__(self) -> None:
        # Also when they were passed as plain strings, which a repr would show.
        object.__setattr__(self, "api_key", _secret("api_key", self.api_key))
        object.__setattr__(self, "webhook_secrets", _secrets(self.webhook_secrets))
        check_api_key(self.api_key.get_secret_value())
        check_header("stripe_version", self.stripe_version)
        for name in ("stripe_account", "stripe_context"):
            value = getattr(self, name)
            if value is not None:
                check_header(name, value)
        for name in ("api_base", "connect_base", "files_base", "meter_events_base"):
            _check_base(name, getattr(self, name))
        for name in ("timeout", "connect_timeout", "max_connections", "max_response_bytes"):
            value = getattr(self, name)
            if not (is_number(value) and value > 0):
                msg = f"{name} must be a number above 0"
                raise ConfigurationError(msg)
        if self.transport not in ("auto", "httpx", "fast"):
            msg = "transport is one of 'auto', 'httpx' and 'fast'"
            raise ConfigurationError(msg)

    def __reduce__(self) -> NoReturn:
        msg = "a StripeConfig holds secrets, so it is not pickled: make it in the process that needs it, with from_env()"
        raise TypeError(msg)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """
        Return the settings that the environment gives, with *settings* above them.

        Reads ``STRIPE_SECRET_KEY``, ``STRIPE_ACCOUNT``, ``STRIPE_API_VERSION``, ``STRIPE_WEBHOOK_SECRET`` (several are separated by commas), and
        ``STRIPE_API_BASE`` and ``STRIPE_CONNECT_BASE`` for a Stripe that is elsewhere, such as a sandbox.

        Raises:
            ConfigurationError: There is no key, or a value is malformed.
        """
        values = os.environ if environment is None else environment
        found: dict[str, Any] = {}
        for name, variable in _VARIABLES.items():
            if value := values.get(variable, "").strip():
                found[name] = value
        if key := values.get("STRIPE_SECRET_KEY", "").strip():
            found["api_key"] = SecretStr(key)
        if secrets := values.get("STRIPE_WEBHOOK_SECRET", ""):
            found["webhook_secrets"] = tuple(SecretStr(secret.strip()) for secret in secrets.split(",") if secret.strip())
        found.update(settings)
        if "api_key" not in found:
            msg = "there is no API key: set STRIPE_SECRET_KEY, or pass api_key="
            raise ConfigurationError(msg)
        return cls(**found)

    def with_settings(self, **settings: Any) -> Self:
        """Return a copy with *settings* in place of these."""
        return replace(self, **settings)

    @property
    def livemode(self) -> bool:
        """Whether the key moves real money."""
        return is_live(self.api_key.get_secret_value())


class RequestOptions(TypedDict, total=False):
    """
    What every call takes beside Stripe's parameters. It goes into headers and policy, never into the body.

    What is left out, or ``None``, comes from the client.
    """

    idempotency_key: str | None
    """Of 1 to 255 characters; under the same key Stripe carries out a request once. Left out, a POST gets a random one."""
    stripe_account: str | None
    """Act for this connected account (``acct_…``)."""
    stripe_context: str | None
    """Act in this context: an account of an organization, or a path of accounts."""
    stripe_version: str | None
    """The API version of this call alone."""
    timeout: float | None
    """Seconds for each attempt."""
    max_retries: int | None
    """How often to try again after a failure that allows it; 0 for never."""


OPTIONS: frozenset[str] = frozenset(RequestOptions.__annotations__)

_VARIABLES = {
    "stripe_account": "STRIPE_ACCOUNT",
    "stripe_version": "STRIPE_API_VERSION",
    "api_base": "STRIPE_API_BASE",
    "connect_base": "STRIPE_CONNECT_BASE",
}


def secret(value: str | SecretStr) -> SecretStr:
    """Return *value* as a secret that no repr shows."""
    return value if isinstance(value, SecretStr) else SecretStr(value)


def _secret(name: str, value: object) -> SecretStr:
    if not isinstance(value, (str, SecretStr)):
        what = "the API key" if name == "api_key" else "one of webhook_secrets"
        msg = f"{what} is a {type(value).__name__}, not a string"
        raise ConfigurationError(msg)
    return secret(value)


def _secrets(values: object) -> tuple[SecretStr, ...]:
    if isinstance(values, (str, SecretStr)):
        values = (values,)
    if not isinstance(values, (list, tuple)):
        msg = f"webhook_secrets are texts (whsec_…), not {type(values).__name__}"
        raise ConfigurationError(msg)
    return tuple(_secret("webhook_secrets", value) for value in values)


def is_live(api_key: str) -> bool:
    """Return whether *api_key* is one for live mode. A key that does not say so counts as live."""
    return "_test_" not in api_key


def check_api_key(api_key: object) -> None:
    """Raise ``ConfigurationError`` for what cannot be a secret key, without showing any of it."""
    if not isinstance(api_key, str):
        msg = f"the API key is a {type(api_key).__name__}, not a string"
    elif api_key != api_key.strip():
        msg = "the API key has white space around it; was a line break copied with it?"
    elif api_key.startswith("pk_"):
        msg = "this is a publishable key (pk_…), for browsers; the API needs the secret key (sk_…) or a restricted one (rk_…)"
    elif api_key.startswith("whsec_"):
        msg = "this is a webhook's signing secret (whsec_…), not an API key (sk_… or rk_…)"
    elif not _KEY.fullmatch(api_key):
        msg = "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"
    else:
        return
    raise ConfigurationError(msg)


def check_header(name: str, value: object) -> str:
    """Return *value* if it can be sent as a header: visible ASCII, at most 500 characters. Line breaks would smuggle other headers in."""
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        msg = f"{name} must be a short text of visible ASCII characters, without spaces"
        raise ConfigurationError(msg)
    return value


def _check_base(name: str, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"https?://([A-Za-z0-9.\-_]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", value):
        msg = f"{name} must look like https://api.stripe.com: no path, no slash at the end, no user name"
        raise ConfigurationError(msg)
    # A key over plain HTTP can be read by everybody on the way.
    if value.startswith("http://") and not re.match(r"http://(localhost|127\.[0-9.]+|\[::1\]|testserver)(:|$)", value):
        msg = f"{name} must use https, except on this machine (127.0.0.1, localhost)"
        raise ConfigurationError(msg)
