"""The Stripe that the Connect examples run with when they are started as programs: the sandbox, with its pages for the merchant's browser."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from atom_stripe import Keyring, OAuthConfig
from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import Generator


class Stripe(NamedTuple):
    """A Stripe on this machine, and what a service needs for it: what else comes from the environment, and an empty database."""

    sandbox: StripeSandbox
    config: OAuthConfig
    database: str


@contextmanager
def stripe_here(address: str, **settings: Any) -> Generator[Stripe]:
    """Run a Stripe for the service at *address* until the block ends. *settings* are further ones of ``OAuthConfig``."""
    # Its clock stands still, so it begins now: the service lives in real time.
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder, StripeSandbox(start=now) as sandbox, sandbox.serve() as server:
        callback = f"{address}/stripe/callback"
        sandbox.oauth.register(callback)
        # What happens in the accounts of merchants comes to endpoints for Connect.
        endpoint = sandbox.webhooks.deliver_to(f"{address}/webhooks", connect=True)
        app = settings.get("profile") == "stripe_app"
        # What Stripe's Dashboard would tell, and what `atom-stripe keys generate` prints.
        found: dict[str, Any] = {
            "stripe": server.config(webhook_secrets=(endpoint.secret,)),
            "client_id": sandbox.oauth.app_client_id if app else sandbox.oauth.client_id,
            "app": sandbox.oauth.app_id if app else None,
            "marketplace_base": server.url,
            "redirect_uris": (callback,),
            "token_keys": (Keyring.generate_key(),),
        }
        yield Stripe(sandbox, OAuthConfig(**{**found, **settings}), f"sqlite:///{Path(folder) / 'connect.db'}")


@contextmanager
def demonstration() -> Generator[tuple[Stripe, socket.socket]]:
    """Run a Stripe, say where to click, and let Ctrl-C or SIGTERM end the program in good order. The service listens at the socket."""
    with socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0")))) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with stripe_here(address) as stripe:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: sys.exit(0))
            print(f"Open {address} and click “Connect with Stripe”. Nothing here is real, nothing leaves this machine.", flush=True)
            yield stripe, listener
