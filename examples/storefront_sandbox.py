"""The Stripe that the storefront runs with when it is started as a program: the sandbox, with its pages to pay and to look after subscriptions."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe import StripeConfig


class Stripe(NamedTuple):
    """A Stripe on this machine, and what a shop needs for it: what else comes from the environment."""

    sandbox: StripeSandbox
    config: StripeConfig
    staff_key: str


@contextmanager
def stripe_here(address: str) -> Generator[Stripe]:
    """Run a Stripe for the shop at *address* until the block ends."""
    # Its clock stands still, so it begins now: the shop lives in real time.
    with StripeSandbox(start=datetime.now(UTC)) as sandbox, sandbox.serve() as server:
        endpoint = sandbox.webhooks.deliver_to(f"{address}/api/v1/stripe/webhooks")
        yield Stripe(sandbox, server.config(webhook_secrets=(endpoint.secret,)), secrets.token_urlsafe(32))


@contextmanager
def demonstration() -> Generator[tuple[Stripe, str, socket.socket]]:
    """Run a Stripe, say where to click, and let Ctrl-C or SIGTERM end the program in good order. The shop listens at the socket."""
    with socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0")))) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with stripe_here(address) as stripe:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: sys.exit(0))
            print(f"Shop: {address}  Staff: {address}/staff with the key {stripe.staff_key}  Nothing here is real.", flush=True)
            yield stripe, address, listener
