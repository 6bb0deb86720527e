"""Where the settings of ``atom-stripe init`` come from, and whether they fit together. No value is in any message."""

from __future__ import annotations

import os
import re
import secrets
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atom_stripe._extras import require
from atom_stripe.cli import environment
from atom_stripe.config import StripeConfig, check_api_key, is_live
from atom_stripe.errors import ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.oauth_config import OAuthConfig
from atom_stripe.webhooks import WebhookVerifier

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CALLBACK = "/api/v1/stripe/oauth/callback"
_PUBLISHABLE = re.compile(r"pk_(test|live)_[A-Za-z0-9_]{4,500}")
_PLACEHOLDERS = ("your_", "your-", "…", "...")
_LONGEST_INPUT = 64 * 1024
_SHORTEST_KEY = 32
# What replaces one of these loses what was made with it.
_NEVER_REPLACED = ("STRIPE_TOKEN_KEYS", "SECRET_KEY")


@dataclass(frozen=True, slots=True)
class Setting:
    """One that is asked for. *needed*: nothing works without it."""

    variable: str
    question: str
    secret: bool = False
    needed: bool = False
    default: str = ""


SETTINGS = (
    Setting("STRIPE_SECRET_KEY", "Secret key (sk_… or rk_…; Dashboard, Developers, API keys)", secret=True, needed=True),
    Setting("STRIPE_PUBLISHABLE_KEY", "Publishable key (pk_…; empty for none)"),
    Setting("STRIPE_CLIENT_ID", "Client id (ca_…; Dashboard, Settings, Connect; empty if users connect no accounts)"),
    Setting("STRIPE_CLIENT_SECRET", "Client secret (empty if it is the secret key)", secret=True),
    Setting("STRIPE_REDIRECT_URI", "Redirect URI, as it is registered with Stripe"),
    Setting("STRIPE_WEBHOOK_SECRET", "Signing secret of the webhook endpoint (whsec_…; empty to have one made)", secret=True),
    Setting("DATABASE_URL", "Database (sqlite:///file or postgresql://…)", secret=True, needed=True, default="sqlite:///stripe.db"),
)
# Taken along from the environment, and not asked for.
_ALONG = ("STRIPE_API_BASE", "STRIPE_CONNECT_BASE", "STRIPE_ACCOUNT")


@dataclass(slots=True)
class Values:
    """*kept*: what the file has. *new*: what goes into it. Together they are the settings."""

    path: Path
    kept: dict[str, str] = field(default_factory=dict, repr=False)
    new: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def all(self) -> dict[str, str]:
        """The settings as they will be."""
        return {**self.kept, **self.new}

    def take(self, given: Mapping[str, str], *, force: bool) -> None:
        """
        Take what was given, unless the file says the same.

        Raises:
            ConfigurationError: The file says something else, and nobody wants that replaced.
        """
        for name, value in given.items():
            before = self.kept.get(name, "")
            if not value or value == before:
                continue
            if before and not self._may_replace(name, force=force):
                msg = f"{self.path} has another {name}: leave yours out, or say --force to replace it"
                if name in _NEVER_REPLACED:
                    msg = f"{self.path} has another {name}, which is never replaced: what was made with it would be lost. Change it by hand"
                raise ConfigurationError(msg)
            self.new[name] = value

    def make_keys(self) -> None:
        """Make the keys that are missing."""
        known = self.all
        if not known.get("STRIPE_TOKEN_KEYS"):
            self.new["STRIPE_TOKEN_KEYS"] = Keyring.generate_key()
        if not known.get("SECRET_KEY"):
            self.new["SECRET_KEY"] = secrets.token_urlsafe(48)

    def _may_replace(self, name: str, *, force: bool) -> bool:
        if name in _NEVER_REPLACED:
            return False
        return force or (sys.stdin.isatty() and typer.confirm(f"{self.path} has another {name}. Replace it?", err=True))


def gathered(path: Path, flags: Mapping[str, str], *, from_stdin: bool, ask: bool, force: bool, url: str | None) -> Values:
    """Return the settings: from options, stdin, the environment, the file, and then from whoever sits at the terminal."""
    values = Values(path, environment.read(path) if path.exists() else {})
    piped = _piped() if from_stdin else {}
    names = (*(one.variable for one in SETTINGS), *_NEVER_REPLACED, *_ALONG)
    given = {name: flags.get(name) or piped.get(name) or os.environ.get(name, "").strip() for name in names}
    values.take(given, force=force)
    for one in SETTINGS:
        known = values.all
        if known.get(one.variable):
            continue
        default = _default(one, known, url)
        if one.variable in {"STRIPE_CLIENT_SECRET", "STRIPE_REDIRECT_URI"} and not known.get("STRIPE_CLIENT_ID"):
            continue
        answer = _asked(one, default) if ask else default
        if answer:
            values.new[one.variable] = answer
        elif one.needed:
            msg = f"there is no {one.variable}: set it in the environment, give it with --stdin, or run this at a terminal"
            raise ConfigurationError(msg)
    return values


def check(values: Mapping[str, str]) -> StripeConfig:
    """
    Return the settings of a client, once all settings fit together.

    Raises:
        ConfigurationError: One is malformed, a placeholder, or of another mode than the others.
    """
    for name, value in values.items():
        if name.startswith("STRIPE_") and any(part in value for part in _PLACEHOLDERS):
            msg = f"{name} is the placeholder of a template: put in the value that Stripe's Dashboard shows"
            raise ConfigurationError(msg)
    config = StripeConfig.from_env(values)
    _check_keys(values, livemode=config.livemode)
    if config.webhook_secrets:
        WebhookVerifier.from_config(config)
    if values.get("STRIPE_CLIENT_ID"):
        _check_oauth(values)
    if len(values.get("SECRET_KEY", "").encode()) < _SHORTEST_KEY:
        msg = f"SECRET_KEY needs {_SHORTEST_KEY} bytes at least, random ones: take it out, and one is made"
        raise ConfigurationError(msg)
    return config


def _check_keys(values: Mapping[str, str], *, livemode: bool) -> None:
    publishable = values.get("STRIPE_PUBLISHABLE_KEY", "")
    if publishable and not _PUBLISHABLE.fullmatch(publishable):
        msg = "STRIPE_PUBLISHABLE_KEY is no publishable key (pk_test_… or pk_live_…), and this one is sent to browsers"
        raise ConfigurationError(msg)
    if publishable and publishable.startswith("pk_live_") != livemode:
        raise ConfigurationError(_other_mode("STRIPE_PUBLISHABLE_KEY"))
    if client_secret := values.get("STRIPE_CLIENT_SECRET", ""):
        try:
            check_api_key(client_secret)
        except ConfigurationError as error:
            msg = f"STRIPE_CLIENT_SECRET: {error}"
            raise ConfigurationError(msg) from None
        if is_live(client_secret) != livemode:
            raise ConfigurationError(_other_mode("STRIPE_CLIENT_SECRET"))


def _check_oauth(values: Mapping[str, str]) -> None:
    config = OAuthConfig.from_env(values)
    if not config.redirect_uris:
        msg = "there is a client id, and no address that Stripe sends users back to: give --redirect-uri or --url"
        raise ConfigurationError(msg)
    try:
        Keyring(list(config.token_keys))
    except ConfigurationError as error:
        msg = f"STRIPE_TOKEN_KEYS: {error}"
        raise ConfigurationError(msg) from None


def _other_mode(name: str) -> str:
    return f"{name} and STRIPE_SECRET_KEY are of two modes: take both from live mode, or both from test mode"


def _default(one: Setting, known: Mapping[str, str], url: str | None) -> str:
    if one.variable == "STRIPE_REDIRECT_URI" and url and known.get("STRIPE_CLIENT_ID"):
        return url + CALLBACK
    return one.default


def _asked(one: Setting, default: str) -> str:
    # Nothing that is typed in here is shown, if it is a secret; a default never is one.
    question = f"{one.question}{f' [{default}]' if default else ''}"
    while True:
        answer = str(typer.prompt(question, default=default, show_default=False, hide_input=one.secret, err=True)).strip()
        if answer or not one.needed:
            return answer


def _piped() -> dict[str, str]:
    text = sys.stdin.read(_LONGEST_INPUT + 1)
    if len(text) > _LONGEST_INPUT:
        msg = "stdin is too long for settings"
        raise ConfigurationError(msg)
    return environment.parse(text, "stdin")
