"""``atom-stripe sandbox``: a Stripe that runs here, for programs in any language."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from atom_stripe._extras import require
from atom_stripe.cli import environment, sandbox_clock
from atom_stripe.cli.environment import EnvFile  # noqa: TC001 - typer reads it
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads it
from atom_stripe.cli.output import emit, note, say
from atom_stripe.cli.signals import told_to_stop
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe.testing import StripeSandbox
    from atom_stripe.testing.server import SandboxServer

PORT = 12111


def sandbox(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port at 127.0.0.1; 0 for any that is free.")] = PORT,
    deliver_to: Annotated[
        list[str] | None, typer.Option("--deliver-to", metavar="URL", help="Send its webhooks there. May be given again.")
    ] = None,
    redirect_uri: Annotated[
        list[str] | None,
        typer.Option("--redirect-uri", metavar="URL", help="Where its OAuth may send users back to. May be given again."),
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """
    Be a Stripe on this machine until SIGTERM or Ctrl-C. It keeps what is created until then, and takes any test key.

    With the settings of `atom-stripe init --sandbox` it is the Stripe that they mean.
    """
    targets = deliver_to or []
    # A signal may come in the middle of anything, and this is the one thing that may be done then.
    asked: SimpleQueue[None] = SimpleQueue()
    hosts = [host for url in targets if (host := _host(url))]
    with (
        told_to_stop(lambda *_: asked.put(None)),
        environment.loaded(env_file),
        sandbox_clock.running(hosts) as stripe,
    ):
        server = _served(stripe, port)
        ours = os.environ.get("STRIPE_API_BASE") == server.url
        key = (ours and os.environ.get("STRIPE_SECRET_KEY")) or f"sk_test_{secrets.token_hex(16)}"
        signing = (ours and os.environ.get("STRIPE_WEBHOOK_SECRET", "").partition(",")[0]) or f"whsec_{secrets.token_hex(24)}"
        known = [uri for uri in os.environ.get("STRIPE_REDIRECT_URI", "").split(",") if ours and uri.strip()]
        for uri in [*known, *(redirect_uri or ())]:
            stripe.oauth.register(uri.strip())
        for url in targets:
            for connect in (False, True):
                stripe.webhooks.deliver_to(url, signing, connect=connect)
        told = {
            "url": server.url,
            "secret_key": key,
            "webhook_secret": signing,
            "client_id": stripe.oauth.client_id,
            "account": stripe.account,
            "delivers_to": targets,
        }
        if json:
            emit(told)
        else:
            say(_words(server.url, key, signing, stripe.oauth.client_id, targets))
        _wait(asked)
    note("stopped: nothing is left of it")


def _wait(asked: SimpleQueue[None]) -> None:
    # In pieces: on some systems a signal does not end a wait.
    while True:
        with suppress(Empty):
            return asked.get(timeout=1.0)


def _served(stripe: StripeSandbox, port: int) -> SandboxServer:
    try:
        return stripe.serve(port)
    except OSError as error:
        msg = f"cannot listen at 127.0.0.1, port {port}: {error.strerror}; choose another with --port"
        raise ConfigurationError(msg) from None


def _host(url: str) -> str | None:
    """Return the host in *url*: who names it on purpose wants deliveries there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = "--deliver-to takes a complete URL, such as http://127.0.0.1:8000/api/v1/stripe/webhooks"
        raise ConfigurationError(msg)
    return parts.hostname


def _words(url: str, key: str, signing: str, client_id: str, targets: list[str]) -> str:
    delivered = ", ".join(targets) or "nowhere: say --deliver-to URL"
    return f"""\
Stripe's API     {url}
Secret key       {key} (any that begins with sk_test_ does)
Client id        {client_id}
Webhooks go to   {delivered}
Signed with      {signing}

curl {url}/v1/customers -u {key}: -d email=jenny@example.com

stripe-python    stripe.StripeClient("{key}", base_addresses={{"api": "{url}"}})
atom-stripe      export STRIPE_API_BASE={url} STRIPE_CONNECT_BASE={url} STRIPE_SECRET_KEY={key}

Ctrl-C ends it, and nothing is left."""
