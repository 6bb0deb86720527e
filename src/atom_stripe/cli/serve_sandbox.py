"""``atom-stripe serve --sandbox``: the service with a Stripe of its own, for whoever wants to see it work."""

from __future__ import annotations

import secrets
import shlex
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from atom_stripe.cli import sandbox_clock
from atom_stripe.keys import Keyring

if TYPE_CHECKING:
    from collections.abc import Generator

_DAY = 24 * 3600.0
_PAYMENT = '{"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": true}'


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The application, where it is, the Stripe that it asks, and a token for it."""

    app: Any
    url: str
    stripe: str
    token: str

    @classmethod
    @contextmanager
    def opened(cls, url: str) -> Generator[Self]:
        """Yield one that is to be served at *url*. When it ends, nothing is left of it."""
        from atom_stripe.contrib.fastapi import BearerTokens, create_app
        from atom_stripe.service.settings import PREFIX
        from atom_stripe.stores.sql import upgrade

        api = url + PREFIX
        with tempfile.TemporaryDirectory(prefix="atom-stripe") as folder, sandbox_clock.running() as sandbox:
            database = f"sqlite:///{Path(folder) / 'stripe.db'}"
            upgrade(database)
            redirect_uri = f"{api}/oauth/callback"
            sandbox.oauth.register(redirect_uri)
            signing = f"whsec_{secrets.token_hex(24)}"
            for connect in (False, True):
                sandbox.webhooks.deliver_to(f"{api}/webhooks", signing, connect=connect)
            server = sandbox.serve()
            secret_key = secrets.token_urlsafe(48)
            app = create_app(
                {
                    "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(16)}",
                    "STRIPE_WEBHOOK_SECRET": signing,
                    "STRIPE_CLIENT_ID": sandbox.oauth.client_id,
                    "STRIPE_REDIRECT_URI": redirect_uri,
                    "STRIPE_TOKEN_KEYS": Keyring.generate_key(),
                    "STRIPE_API_BASE": server.url,
                    "STRIPE_CONNECT_BASE": server.url,
                    "DATABASE_URL": database,
                    "SECRET_KEY": secret_key,
                }
            )
            token = BearerTokens(secret_key).mint("you", platform=True, operator=True, expires_in=_DAY)
            yield cls(app, api, server.url, token)

    @property
    def told(self) -> dict[str, Any]:
        """What a program wants to know."""
        return {"url": self.url.removesuffix("/api/v1/stripe"), "api": self.url, "stripe": self.stripe, "token": self.token}

    @property
    def words(self) -> str:
        """What whoever started it wants to know."""
        token = shlex.quote(f"Authorization: Bearer {self.token}")
        return f"""\
The service    {self.url}
Its Stripe     {self.stripe} (runs here; takes any key that begins with sk_test_)
Your token     {self.token}

Take a payment, and see what became of it:

curl {self.url}/payments -H {token} -H 'Content-Type: application/json' -d {shlex.quote(_PAYMENT)}
curl {self.url}/health/detailed -H {token}

Connect an account: open the URL that this gives in a browser.

curl {self.url}/oauth/authorize -c cookies.txt -H {token}

Ctrl-C ends it, and nothing is left."""
