"""The check of Stripe and of the webhook endpoints that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe._engine.doctor import Patient, diagnose
from atom_stripe._engine.endpoints import blocking_endpoints, native_endpoints
from atom_stripe.config import RetryPolicy
from atom_stripe.errors import (
    APIError,
    AuthenticationError,
    PermissionDeniedError,
    QueueFullError,
    RateLimitedError,
    TransportError,
)
from atom_stripe.service.findings import Finding, Findings, Status

if TYPE_CHECKING:
    from atom_stripe._engine.endpoint_values import RegisteredEndpoint
    from atom_stripe.service.health import Watch

# Without these, events that somebody waits for do not come. The other findings of ``atom-stripe doctor`` are told and may be meant so.
_LOSING = frozenset({"no_endpoint", "not_subscribed", "no_connect_endpoint", "mode_mismatch"})
_THIN = ("v1.", "v2.")


async def examine(watch: Watch) -> Findings:
    """Ask Stripe once for both: for its webhook endpoints."""
    inbox = watch.parts.inbox
    client = watch.parts.client
    if client is None and inbox is not None:
        client = inbox._core.client  # noqa: SLF001 - of this package
    if client is None:
        nothing = Finding("off", "there is no client to ask Stripe with")
        return {"stripe": nothing, "webhook_endpoint": nothing}
    client = client.with_options(timeout=watch.patience, retry=RetryPolicy(attempts=1))
    flow = (native_endpoints if watch.asynchronous else blocking_endpoints)(client)
    facts = {"livemode": flow.livemode}
    mode = f"in {'live' if flow.livemode else 'test'} mode"
    unknown = Finding("off", "Stripe did not say which endpoints there are")
    try:
        endpoints = await flow.all()
    except PermissionDeniedError:
        return {
            "stripe": Finding("ok", f"Stripe accepts the key, {mode}", facts),
            "webhook_endpoint": Finding("off", "the key may not read webhook endpoints"),
        }
    except (APIError, TransportError, QueueFullError) as error:
        status, detail = _refused(error)
        return {"stripe": Finding(status, f"{detail}, {mode}", facts), "webhook_endpoint": unknown}
    return {
        "stripe": Finding("ok", f"Stripe accepts the key, {mode}", facts),
        "webhook_endpoint": _endpoints(endpoints, inbox, livemode=flow.livemode),
    }


def _refused(error: APIError | TransportError | QueueFullError) -> tuple[Status, str]:
    if isinstance(error, AuthenticationError):
        # It does not get better by itself, and until somebody acts nobody can pay.
        return "down", "Stripe does not accept the key"
    if isinstance(error, RateLimitedError | QueueFullError):
        return "degraded", "no more requests are let in now"
    # Webhooks are taken all the same, and calls are tried again.
    return "degraded", "Stripe answers with errors" if isinstance(error, APIError) else "Stripe does not answer"


def _endpoints(endpoints: tuple[RegisteredEndpoint, ...], inbox: Any, *, livemode: bool) -> Finding:
    """Say whether what the inbox waits for is delivered at all; the rest is for ``atom-stripe doctor``."""
    if inbox is None:
        return Finding("off", "there is no inbox")
    handlers = {name: handler.patterns for name, handler in inbox.handlers.items()}
    if handlers and all(pattern.startswith(_THIN) for patterns in handlers.values() for pattern in patterns):
        return Finding("off", "the handlers want thin events alone, which come through event destinations")
    findings = diagnose(
        Patient(
            endpoints=endpoints,
            handlers=handlers,
            url=None,
            connect=None,
            livemode=livemode,
            inbox_livemode=inbox.config.livemode,
        )
    )
    enabled = sum(one.enabled for one in endpoints)
    codes = sorted({finding.code for finding in findings if finding.problem})
    facts = {"enabled": enabled, "problems": codes}
    if not enabled:
        return Finding("degraded", "Stripe has no enabled webhook endpoint", facts)
    if _LOSING.intersection(codes):
        return Finding("degraded", "events that handlers wait for do not come: see atom-stripe doctor", facts)
    return Finding("ok", "Stripe delivers", facts)
