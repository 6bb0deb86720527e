"""Fixtures for pytest. In a ``conftest.py``: ``pytest_plugins = ["atom_stripe.testing.plugin"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atom_stripe.testing.sandbox import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.client import StripeClient


@pytest.fixture
def stripe_sandbox() -> Iterator[StripeSandbox]:
    """A Stripe of this test alone."""
    with StripeSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def stripe_client(stripe_sandbox: StripeSandbox) -> Iterator[StripeClient]:
    """A client of ``stripe_sandbox``, in the same process."""
    with stripe_sandbox.client() as stripe:
        yield stripe
