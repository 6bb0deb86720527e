"""
For tests, demos and laptops: a Stripe that runs offline.

``StripeSandbox`` keeps what you create, answers in Stripe's shapes with Stripe's errors, sends signed webhooks and has bad days on
demand. ``sign`` signs a webhook's body as Stripe would. ``atom_stripe.testing.plugin`` holds fixtures for pytest.
``check_token_store`` and ``check_inbox_store`` prove a store of your own; ``FaultyTokenStore`` and ``FaultyInboxStore`` give any store bad days.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_stripe.testing.conformance import TOKEN_STORE_CHECKS, ConformanceError, check_async_token_store, check_token_store
    from atom_stripe.testing.faulty_inbox import FaultyInboxStore
    from atom_stripe.testing.faulty_stores import AsyncFaultyTokenStore, FaultyTokenStore
    from atom_stripe.testing.inbox_conformance import INBOX_STORE_CHECKS, check_inbox_store
    from atom_stripe.testing.oauth import ConsentRefusedError, SandboxOAuth
    from atom_stripe.testing.sandbox import StripeSandbox
    from atom_stripe.testing.server import SandboxServer
    from atom_stripe.testing.webhooks import Delivery, Endpoint, LostDeliveryError, sign

_HOMES = {
    "AsyncFaultyTokenStore": "atom_stripe.testing.faulty_stores",
    "ConformanceError": "atom_stripe.testing.conformance",
    "ConsentRefusedError": "atom_stripe.testing.oauth",
    "Delivery": "atom_stripe.testing.webhooks",
    "Endpoint": "atom_stripe.testing.webhooks",
    "FaultyInboxStore": "atom_stripe.testing.faulty_inbox",
    "FaultyTokenStore": "atom_stripe.testing.faulty_stores",
    "INBOX_STORE_CHECKS": "atom_stripe.testing.inbox_conformance",
    "LostDeliveryError": "atom_stripe.testing.webhooks",
    "SandboxOAuth": "atom_stripe.testing.oauth",
    "SandboxServer": "atom_stripe.testing.server",
    "StripeSandbox": "atom_stripe.testing.sandbox",
    "TOKEN_STORE_CHECKS": "atom_stripe.testing.conformance",
    "check_async_token_store": "atom_stripe.testing.conformance",
    "check_inbox_store": "atom_stripe.testing.inbox_conformance",
    "check_token_store": "atom_stripe.testing.conformance",
    "sign": "atom_stripe.testing.webhooks",
}

__all__ = [
    "INBOX_STORE_CHECKS",
    "TOKEN_STORE_CHECKS",
    "AsyncFaultyTokenStore",
    "ConformanceError",
    "ConsentRefusedError",
    "Delivery",
    "Endpoint",
    "FaultyInboxStore",
    "FaultyTokenStore",
    "LostDeliveryError",
    "SandboxOAuth",
    "SandboxServer",
    "StripeSandbox",
    "check_async_token_store",
    "check_inbox_store",
    "check_token_store",
    "sign",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
