"""
The Stripe layer of a Python service.

The names below are the public ones. Each is imported when it is first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_stripe._engine.pages import AsyncPage, AsyncPages, Page
    from atom_stripe.client import AsyncStripeClient, StripeClient
    from atom_stripe.config import API_VERSION, RateLimits, RequestOptions, RetryPolicy, StripeConfig
    from atom_stripe.connections import AccessToken, AccountLink, Connection, OnboardingStatus
    from atom_stripe.endpoints import AsyncWebhookEndpoints, WebhookEndpoints
    from atom_stripe.errors import AtomStripeError
    from atom_stripe.inbox import AsyncHandlerContext, AsyncWebhookInbox, HandlerContext, Park, Receipt, Retry, WebhookInbox
    from atom_stripe.inbox_config import HandlerRetry, InboxConfig
    from atom_stripe.keys import AsyncEnvelopeKeys, EnvelopeKeys, Keyring
    from atom_stripe.models import Event, EventNotification, StripeObject
    from atom_stripe.money import Money
    from atom_stripe.oauth import AsyncOAuthManager, OAuthManager
    from atom_stripe.oauth_config import OAuthConfig
    from atom_stripe.protocols import AsyncKeyProvider, AsyncTokenStore, InboxStore, KeyProvider, TokenStore
    from atom_stripe.webhooks import WebhookVerifier

    __version__: str

_HOMES = {
    "API_VERSION": "config",
    "AccessToken": "connections",
    "AccountLink": "connections",
    "AsyncEnvelopeKeys": "keys",
    "AsyncHandlerContext": "inbox",
    "AsyncKeyProvider": "protocols",
    "AsyncOAuthManager": "oauth",
    "AsyncPage": "_engine.pages",
    "AsyncPages": "_engine.pages",
    "AsyncStripeClient": "client",
    "AsyncTokenStore": "protocols",
    "AsyncWebhookEndpoints": "endpoints",
    "AsyncWebhookInbox": "inbox",
    "AtomStripeError": "errors",
    "Connection": "connections",
    "EnvelopeKeys": "keys",
    "Event": "models",
    "EventNotification": "models",
    "HandlerContext": "inbox",
    "HandlerRetry": "inbox_config",
    "InboxConfig": "inbox_config",
    "InboxStore": "protocols",
    "KeyProvider": "protocols",
    "Keyring": "keys",
    "Money": "money",
    "OAuthConfig": "oauth_config",
    "OAuthManager": "oauth",
    "OnboardingStatus": "connections",
    "Page": "_engine.pages",
    "Park": "inbox",
    "RateLimits": "config",
    "Receipt": "inbox",
    "RequestOptions": "config",
    "Retry": "inbox",
    "RetryPolicy": "config",
    "StripeClient": "client",
    "StripeConfig": "config",
    "StripeObject": "models",
    "TokenStore": "protocols",
    "WebhookEndpoints": "endpoints",
    "WebhookInbox": "inbox",
    "WebhookVerifier": "webhooks",
}

__all__ = [
    "API_VERSION",
    "AccessToken",
    "AccountLink",
    "AsyncEnvelopeKeys",
    "AsyncHandlerContext",
    "AsyncKeyProvider",
    "AsyncOAuthManager",
    "AsyncPage",
    "AsyncPages",
    "AsyncStripeClient",
    "AsyncTokenStore",
    "AsyncWebhookEndpoints",
    "AsyncWebhookInbox",
    "AtomStripeError",
    "Connection",
    "EnvelopeKeys",
    "Event",
    "EventNotification",
    "HandlerContext",
    "HandlerRetry",
    "InboxConfig",
    "InboxStore",
    "KeyProvider",
    "Keyring",
    "Money",
    "OAuthConfig",
    "OAuthManager",
    "OnboardingStatus",
    "Page",
    "Park",
    "RateLimits",
    "Receipt",
    "RequestOptions",
    "Retry",
    "RetryPolicy",
    "StripeClient",
    "StripeConfig",
    "StripeObject",
    "TokenStore",
    "WebhookEndpoints",
    "WebhookInbox",
    "WebhookVerifier",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("atom_stripe._version").VERSION
    if name not in _HOMES:
        msg = f"module 'atom_stripe' has no attribute {name!r}"
        raise AttributeError(msg)
    value = globals()[name] = getattr(import_module(f"atom_stripe.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
