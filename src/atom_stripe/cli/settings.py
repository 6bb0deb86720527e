"""What the commands work with, from the environment: the store, the keys, the manager. Nothing here shows a secret."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from atom_stripe.config import StripeConfig
from atom_stripe.errors import ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.oauth import OAuthManager
from atom_stripe.oauth_config import OAuthConfig
from atom_stripe.protocols import TokenQuery

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from atom_stripe.protocols import Profile, TokenRecord, TokenStore
    from atom_stripe.stores.sql import SqlTokenStore

_PAGE = 500
_HELP = "`atom-stripe keys generate` makes one"


def database_url(given: str | None, *, option: str = "--database-url", variable: str = "DATABASE_URL") -> str:
    """
    Return the URL of a database, from an option or from the environment.

    Raises:
        ConfigurationError: There is none, or the option holds a password.
    """
    if given:
        if _holds_password(given):
            msg = f"everybody on this machine can read the arguments of a command: put the URL with the password into {variable}"
            raise ConfigurationError(msg)
        return given
    if url := os.environ.get(variable, "").strip():
        return url
    msg = f"there is no database: set {variable}, or give {option} if its URL holds no password"
    raise ConfigurationError(msg)


def _holds_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.password is not None or any(name == "password" for name, _ in parse_qsl(parts.query))
    except ValueError:
        # Not to be read, so not to be trusted.
        return True


@contextmanager
def opened_store(url: str | None) -> Generator[SqlTokenStore]:
    """Yield the store in the database that *url* or the environment names."""
    from atom_stripe.stores.sql import SqlTokenStore

    with SqlTokenStore.from_url(database_url(url)) as store:
        yield store


def keyring() -> Keyring:
    """
    Return the keys of ``STRIPE_TOKEN_KEYS``.

    Raises:
        ConfigurationError: There are none, or they are malformed.
    """
    texts = [key.strip() for key in os.environ.get("STRIPE_TOKEN_KEYS", "").split(",") if key.strip()]
    if not texts:
        msg = f"there is no key to encrypt tokens with: set STRIPE_TOKEN_KEYS; {_HELP}"
        raise ConfigurationError(msg)
    try:
        return Keyring(texts)
    except ConfigurationError as error:
        told = str(error)
    msg = f"STRIPE_TOKEN_KEYS: {told}"
    raise ConfigurationError(msg)


def rows(store: TokenStore, query: TokenQuery) -> Iterator[TokenRecord]:
    """Go over all rows that *query* asks for."""
    from dataclasses import replace

    query = replace(query, limit=_PAGE)
    while page := store.find(query):
        yield from page
        query = replace(query, after=page[-1].id)


def rows_by_key(store: TokenStore) -> dict[str, int]:
    """Return how many rows each key encrypts, by its id."""
    counts: dict[str, int] = {}
    for row in rows(store, TokenQuery()):
        if row.key_id is not None:
            counts[row.key_id] = counts.get(row.key_id, 0) + 1
    return counts


def manager(store: TokenStore, profile: Profile, *, keys: Keyring | None = None) -> OAuthManager:
    """Return a manager with the settings of the environment. *keys*: in place of those that are set there."""
    config = OAuthConfig.from_env(profile=profile)
    return OAuthManager(config, store, keys=keys or keyring())


def local_manager(store: TokenStore, profile: Profile, *, livemode: bool, keys: Keyring | None = None) -> OAuthManager:
    """Return a manager for work that asks Stripe nothing, so that nobody needs a key of Stripe's for it."""
    # The key tells the mode and opens nothing.
    config = StripeConfig(api_key=f"sk_{'live' if livemode else 'test'}_that_opens_nothing")  # type: ignore[arg-type]
    # Without keys, no token is read or written.
    return OAuthManager(OAuthConfig(stripe=config, profile=profile), store, keys=keys or Keyring.generate())
