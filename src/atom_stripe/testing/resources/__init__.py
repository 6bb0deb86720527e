"""
What Stripe's objects are and do, one file for each.

A file declares a kind of object (``Kind``) and operations (``@route``). To add one: write the file, name it in ``MODULES``. The
tests in ``tests/sandbox/test_conformance.py`` then compare its objects and parameters with Stripe's own descriptions.
"""

from __future__ import annotations

from importlib import import_module

from atom_stripe.testing._state.routing import Catalog

MODULES = (
    "account",
    "account_links",
    "account_pages",
    "accounts",
    "application_fee_refunds",
    "application_fees",
    "apps_installs",
    "balance",
    "balance_transactions",
    "capabilities",
    "charges",
    "checkout_pages",
    "checkout_sessions",
    "customers",
    "customer_payment_methods",
    "event_destinations",
    "events",
    "invoice_pages",
    "invoices",
    "oauth",
    "oauth_pages",
    "payment_intents",
    "payment_methods",
    "portal_pages",
    "portal_sessions",
    "prices",
    "products",
    "refunds",
    "searches",
    "setup_intents",
    "subscriptions",
    "thin_events",
    "webhook_endpoints",
)


def catalog() -> Catalog:
    """Return all kinds and operations of the sandbox."""
    return Catalog(import_module(f"{__name__}.{name}") for name in MODULES)
