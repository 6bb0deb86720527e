"""A user's access token from a store: in memory against a look-up and a decryption, on PostgreSQL against a bare select."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from harness import MICROSECONDS, Effort, Figures, Row, benchmark, seconds_each

USER = "user_1"


def manager(store: Any) -> Any:
    """Return a manager with one connected user in *store*."""
    import httpx

    from atom_stripe import Keyring, OAuthConfig, OAuthManager, StripeConfig
    from atom_stripe.testing import StripeSandbox

    sandbox = StripeSandbox()
    sandbox.oauth.register("https://service.example/callback")
    config = OAuthConfig(
        stripe=StripeConfig(api_key="sk_test_" + "b" * 24),  # type: ignore[arg-type]
        client_id=sandbox.oauth.app_client_id,
        redirect_uris=("https://service.example/callback",),
        profile="stripe_app",
    )
    made = OAuthManager(
        config,
        store,
        keys=Keyring.generate(),
        http_client=httpx.Client(transport=sandbox.transport()),
        clock=lambda: sandbox.clock.timestamp,
    )
    back = httpx.URL(sandbox.oauth.consent(made.authorize_url(USER, session="browser"))).params
    made.callback(back["code"], back["state"], session="browser")
    return made


@benchmark(
    Row(
        name="token_warm_vs_floor",
        what="token() from a store in memory, against a dict look-up and a decryption",
        better="lower",
        target=5,
    )
)
def warm(effort: Effort) -> dict[str, Figures]:
    """The floor looks a token up by its user and decrypts it with a cipher that is ready. Ours reads the row each time, and decrypts once."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from atom_stripe.stores.memory import MemoryTokenStore

    connected = manager(MemoryTokenStore())
    token = connected.token(USER).value.get_secret_value()
    aead, nonce, place = AESGCM(os.urandom(32)), os.urandom(12), b"p" * 120
    stored = {(USER, "stripe_app", False): aead.encrypt(nonce, token.encode(), place)}

    def ours() -> str:
        return connected.token(USER).value.get_secret_value()

    def theirs() -> str:
        return aead.decrypt(nonce, stored[USER, "stripe_app", False], place).decode()

    if ours() != theirs():
        raise RuntimeError("the token did not come back")
    taken = seconds_each({"ours": ours, "theirs": theirs}, effort)
    return {"token_warm_vs_floor": Figures(MICROSECONDS, taken["ours"], taken["theirs"])}


@benchmark(
    Row(
        name="token_pg_vs_select", what="token() from PostgreSQL, against a bare select by the same index", better="lower", target=2
    )
)
def on_postgresql(effort: Effort) -> dict[str, Figures]:
    """Both sides fetch the whole row over one connection, in a transaction that has ended when they return."""
    import psycopg

    from atom_stripe.stores.sql import SqlTokenStore, upgrade

    # The tests' PostgreSQL.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.databases import new_postgres, running_postgres

    with running_postgres(durable=True) as server, new_postgres(server) as url:
        upgrade(url)
        store = SqlTokenStore.from_url(url)
        try:
            connected = manager(store)
            token = connected.token(USER).value.get_secret_value()
            with psycopg.connect(url, autocommit=True) as connection:
                query = "SELECT * FROM stripe_oauth_tokens WHERE user_id = %s AND profile = %s AND livemode = %s"

                def ours() -> str:
                    return str(connected.token(USER).value.get_secret_value())

                def theirs() -> Any:
                    return connection.execute(query, (USER, "stripe_app", False)).fetchone()

                if ours() != token or theirs() is None:
                    raise RuntimeError("the token did not come back")
                taken = seconds_each({"ours": ours, "theirs": theirs}, effort)
        finally:
            store.close()
    return {"token_pg_vs_select": Figures(MICROSECONDS, taken["ours"], taken["theirs"])}
