"""A client's settings, made ready for calls: the headers that every request carries and the lines it waits in."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._version import VERSION
from atom_stripe._wire.requests import check_key
from atom_stripe.config import OPTIONS, check_header
from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._wire.operation import Host, Operation
    from atom_stripe.config import RetryPolicy, StripeConfig

# Stripe's published limits, in requests a second. Source: https://docs.stripe.com/rate-limits
_LIVE_RATE = 100.0
_SANDBOX_RATE = 25.0
_USER_AGENT = f"atom-stripe/{VERSION} python/{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass(frozen=True, slots=True)
class CallSettings:
    """What holds for one call."""

    headers: Mapping[str, str]
    line: str
    timeout: float
    policy: RetryPolicy
    idempotency_key: str | None = None


class Settings:
    """What holds for all calls of a client."""

    def __init__(self, config: StripeConfig) -> None:
        self.config = config
        key = config.api_key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}", "Stripe-Version": config.stripe_version, "User-Agent": _USER_AGENT}
        if config.stripe_account:
            headers["Stripe-Account"] = config.stripe_account
        if config.stripe_context:
            headers["Stripe-Context"] = config.stripe_context
        self._bases: dict[Host, str] = {
            "api": config.api_base,
            "connect": config.connect_base,
            "files": config.files_base,
            "meter_events": config.meter_events_base,
        }
        self._account_rate = config.rate_limits.account or (_LIVE_RATE if config.livemode else _SANDBOX_RATE)
        # The hash names the key's line in the rate limiter without keeping the key there.
        self._key_line = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._usual = CallSettings(headers, self._line(headers), config.timeout, config.retry)

    def base(self, host: Host) -> str:
        """Return the scheme and host of *host*."""
        return self._bases[host]

    def for_call(self, params: Mapping[str, Any]) -> tuple[CallSettings, Mapping[str, Any]]:
        """Take our options out of *params*: return the call's settings, and what goes to Stripe."""
        if OPTIONS.isdisjoint(params):
            return self._usual, params
        options = {name: value for name, value in params.items() if name in OPTIONS and value is not None}
        return self._with(options), {name: value for name, value in params.items() if name not in OPTIONS}

    def _with(self, options: dict[str, Any]) -> CallSettings:
        headers = dict(self._usual.headers)
        if "stripe_account" in options or "stripe_context" in options:
            # The two name the acting account in different ways: the call's one replaces the client's other.
            headers.pop("Stripe-Account", None)
            headers.pop("Stripe-Context", None)
        for name, header in _HEADERS.items():
            if name in options:
                headers[header] = check_header(name, options[name])
        call = replace(self._usual, headers=headers, line=self._line(headers))
        if "timeout" in options:
            call = replace(call, timeout=_positive("timeout", options["timeout"]))
        if "max_retries" in options:
            call = replace(call, policy=replace(call.policy, attempts=1 + _count("max_retries", options["max_retries"])))
        if "idempotency_key" in options:
            call = replace(call, idempotency_key=check_key(options["idempotency_key"]))
        return call

    def _line(self, headers: Mapping[str, str]) -> str:
        return f"{self._key_line}/{headers.get('Stripe-Account') or headers.get('Stripe-Context') or ''}"

    def lines(self, call: CallSettings, operation: Operation) -> tuple[tuple[str, float], tuple[str, float]]:
        """Return the two lines in which a call waits, its account's and its endpoint's, with their rates."""
        limits = self.config.rate_limits
        slower = limits.files if operation.host == "files" else limits.endpoint
        rate = limits.search if operation.searches else slower
        return (call.line, self._account_rate), (f"{call.line} {operation.method} {operation.path}", rate)


_HEADERS = {"stripe_account": "Stripe-Account", "stripe_context": "Stripe-Context", "stripe_version": "Stripe-Version"}


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        msg = f"{name} is a number of seconds above 0"
        raise ConfigurationError(msg)
    return float(value)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        msg = f"{name} is a whole number, 0 or more"
        raise ConfigurationError(msg)
    return value
