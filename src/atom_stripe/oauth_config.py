"""The settings of an ``OAuthManager``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import SecretStr

from atom_stripe.config import StripeConfig, is_finite, secret
from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.protocols import Profile

_CLIENT_ID = re.compile(r"ca_[A-Za-z0-9_]{8,200}")
_REDIRECT_URI = re.compile(r"https?://[^\s#@?]{1,500}(\?[^\s#]{0,500})?")
_LOOPBACK = re.compile(r"http://(localhost|127\.[0-9.]+|\[::1\]|testserver)(:[0-9]{1,5})?(/|$)")
_SCOPES = {"connect": ("read_write", "read_only"), "stripe_app": ("stripe_apps",)}
_VARIABLES = {"client_id": "STRIPE_CLIENT_ID", "install_link": "STRIPE_INSTALL_LINK", "app": "STRIPE_APP_ID"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthConfig:
    """
    The settings of an ``OAuthManager``. All times are in seconds.

    *stripe*: the platform's key, and how to call Stripe. The key's mode is the mode of everything here. *client_id*: of your Connect platform or
    Stripe App (``ca_…``), of the same mode; not needed for onboarding by account links alone. *redirect_uris*: where Stripe sends users back to,
    as registered with Stripe; the first is the default. *profile*: ``"connect"``, or ``"stripe_app"`` for an app from Stripe's marketplace.
    *install_link*: the whole link that Stripe's Dashboard shows for a Stripe App, which differs for tests. *app*: the id of that app, so that
    ``disconnect()`` removes this one and no other. *scope*: what to ask for; Stripe's default would be ``read_only``, ours is ``read_write``.
    *token_keys*: what tokens are encrypted with, each ``id:key`` as ``atom-stripe keys generate`` prints it; the first encrypts, all decrypt.

    *refresh_margin*: how long before its end a token is renewed, in the background; up to *refresh_jitter* earlier, so that not all are renewed
    at once. *refresh_timeout*: for one renewal at Stripe, less than *lease*: for how long nobody else will renew the same token. *wait*: how long
    a caller waits for a token that has run out. *state_lifetime*: for the user's way through Stripe's pages. *access_token_lifetime*: of a Stripe
    App's token, which Stripe does not state in its answers. *close_timeout*: how long ``close()`` waits for renewals to end.

    Source: https://docs.stripe.com/connect/oauth-reference and https://docs.stripe.com/stripe-apps/api-authentication/oauth
    """

    stripe: StripeConfig
    client_id: str | None = None
    redirect_uris: tuple[str, ...] = ()
    profile: Profile = "connect"
    install_link: str | None = None
    app: str | None = None
    scope: str | None = None
    token_keys: tuple[SecretStr, ...] = field(default=(), repr=False)
    refresh_margin: float = 600.0
    refresh_jitter: float = 120.0
    refresh_timeout: float = 20.0
    lease: float = 30.0
    wait: float = 30.0
    state_lifetime: float = 600.0
    access_token_lifetime: float = 3600.0
    close_timeout: float = 25.0
    marketplace_base: str = "https://marketplace.stripe.com"

    def __post_init__(self) -> None:
        redirect_uris = (self.redirect_uris,) if isinstance(self.redirect_uris, str) else tuple(self.redirect_uris)
        object.__setattr__(self, "redirect_uris", redirect_uris)
        token_keys = (self.token_keys,) if isinstance(self.token_keys, (str, SecretStr)) else self.token_keys
        object.__setattr__(self, "token_keys", tuple(secret(key) for key in token_keys))
        if self.profile not in _SCOPES:
            msg = "profile is 'connect' or 'stripe_app'"
            raise ConfigurationError(msg)
        object.__setattr__(self, "scope", self.scope or _SCOPES[self.profile][0])
        check_scope(self.profile, self.scope)
        if self.client_id is not None and not _CLIENT_ID.fullmatch(str(self.client_id)):
            msg = "client_id looks like ca_…; Stripe's Dashboard shows one for live and one for test mode"
            raise ConfigurationError(msg)
        for uri in redirect_uris:
            check_redirect_uri(uri, livemode=self.livemode)
        for name in _SECONDS:
            value = getattr(self, name)
            if not (is_finite(value) and value > 0):
                msg = f"{name} is a number of seconds above 0"
                raise ConfigurationError(msg)
        if not self.refresh_timeout < self.lease:
            msg = "refresh_timeout must be shorter than lease, or two processes would renew one token"
            raise ConfigurationError(msg)
        if not self.refresh_margin + self.refresh_jitter < self.access_token_lifetime:
            msg = "refresh_margin and refresh_jitter together must be shorter than access_token_lifetime, or no token would ever be fresh"
            raise ConfigurationError(msg)

    def __reduce__(self) -> NoReturn:
        msg = "an OAuthConfig holds secrets, so it is not pickled: make it in the process that needs it, with from_env()"
        raise TypeError(msg)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, *, stripe: StripeConfig | None = None, **settings: Any) -> Self:
        """
        Return the settings that the environment gives, with *settings* above them.

        Reads ``STRIPE_CLIENT_ID``, ``STRIPE_CLIENT_SECRET`` (a platform's client secret is its secret key; ``STRIPE_SECRET_KEY`` serves too),
        ``STRIPE_REDIRECT_URI`` and ``STRIPE_TOKEN_KEYS`` (several are separated by commas), ``STRIPE_INSTALL_LINK``, ``STRIPE_APP_ID``, and what
        ``StripeConfig.from_env()`` reads.

        Raises:
            ConfigurationError: There is no key, or a value is malformed.
        """
        values = os.environ if environment is None else environment
        found: dict[str, Any] = {}
        for name, variable in _VARIABLES.items():
            if value := values.get(variable, "").strip():
                found[name] = value
        if uris := values.get("STRIPE_REDIRECT_URI", ""):
            found["redirect_uris"] = tuple(uri.strip() for uri in uris.split(",") if uri.strip())
        if keys := values.get("STRIPE_TOKEN_KEYS", ""):
            found["token_keys"] = tuple(SecretStr(key.strip()) for key in keys.split(",") if key.strip())
        found.update(settings)
        if stripe is None:
            client_secret = values.get("STRIPE_CLIENT_SECRET", "").strip()
            stripe = StripeConfig.from_env(values, **({"api_key": SecretStr(client_secret)} if client_secret else {}))
        return cls(stripe=stripe, **found)

    def with_settings(self, **settings: Any) -> Self:
        """Return a copy with *settings* in place of these."""
        return replace(self, **settings)

    @property
    def livemode(self) -> bool:
        """Whether this is about real money."""
        return self.stripe.livemode


_SECONDS = (
    "refresh_margin",
    "refresh_jitter",
    "refresh_timeout",
    "lease",
    "wait",
    "state_lifetime",
    "access_token_lifetime",
    "close_timeout",
)


def check_scope(profile: Profile, scope: object) -> str:
    """Return *scope* if *profile* has it."""
    if scope not in _SCOPES[profile]:
        msg = f"the scope of a {profile} authorization is one of {', '.join(_SCOPES[profile])}"
        raise ConfigurationError(msg)
    return str(scope)


def check_redirect_uri(uri: object, *, livemode: bool) -> str:
    """Return *uri* if Stripe could send users back to it: https, or this machine in test mode."""
    if not isinstance(uri, str) or not _REDIRECT_URI.fullmatch(uri):
        msg = "a redirect URI is an absolute URL like https://example.com/stripe/callback, without a fragment or user name"
        raise ConfigurationError(msg)
    if uri.startswith("http://") and (livemode or not _LOOPBACK.match(uri)):
        msg = "a redirect URI must use https, except on this machine (127.0.0.1, localhost) in test mode"
        raise ConfigurationError(msg)
    return uri
