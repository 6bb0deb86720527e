"""
For tests, demos and laptops: a Stripe that runs offline.

``StripeSandbox`` keeps what you create, answers in Stripe's shapes with Stripe's errors, sends signed webhooks and has bad days on
demand. ``sign`` signs a webhook's body as Stripe would. ``atom_stripe.testing.plugin`` holds fixtures for pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_stripe.testing.sandbox import StripeSandbox
    from atom_stripe.testing.server import SandboxServer
    from atom_stripe.testing.webhooks import Delivery, Endpoint, sign

_HOMES = {
    "Delivery": "atom_stripe.testing.webhooks",
    "Endpoint": "atom_stripe.testing.webhooks",
    "SandboxServer": "atom_stripe.testing.server",
    "StripeSandbox": "atom_stripe.testing.sandbox",
    "sign": "atom_stripe.testing.webhooks",
}

__all__ = ["Delivery", "Endpoint", "SandboxServer", "StripeSandbox", "sign"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
