"""What ``atom-stripe doctor`` finds in the environment. Nothing here shows a secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from atom_stripe.cli.output import counted
from atom_stripe.config import API_VERSION, StripeConfig, is_live
from atom_stripe.errors import ConfigurationError
from atom_stripe.oauth_config import OAuthConfig
from atom_stripe.webhooks import WebhookVerifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox

_STRIPE = "https://api.stripe.com"
_OAUTH = ("STRIPE_CLIENT_ID", "STRIPE_REDIRECT_URI", "STRIPE_INSTALL_LINK", "STRIPE_APP_ID")
_KEYS = ("STRIPE_SECRET_KEY", "STRIPE_CLIENT_SECRET", "STRIPE_PUBLISHABLE_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_CLIENT_ID")
_PLACEHOLDERS = ("your_", "your-", "…", "...")


Part = Literal["settings", "stripe", "clock", "endpoints", "database", "keys", "inbox", "engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    What was found. *result*: ``ok``; ``note``, it may be meant so; ``problem``, it is not as it should be; ``skipped``, it could not be looked at.
    *code*: for programs. *remedy*: what to do. *endpoint*: the id of the endpoint in question.
    """

    check: Part
    result: Literal["ok", "note", "problem", "skipped"]
    code: str
    message: str
    remedy: str | None = None
    endpoint: str | None = None


def fine(check: Part, message: str) -> Check:
    """Return that *check* found nothing wrong."""
    return Check(check=check, result="ok", code="ok", message=message)


def settings_checks(inbox: WebhookInbox | AsyncWebhookInbox | None) -> Iterator[Check]:
    """Look at the variables of the environment."""
    values = os.environ
    yield from _placeholders(values)
    client = None if inbox is None else inbox._core.client  # noqa: SLF001 - of this package
    try:
        config = StripeConfig.from_env()
    except ConfigurationError as error:
        if client is not None and not values.get("STRIPE_SECRET_KEY", "").strip():
            yield fine("settings", "the inbox has a client of its own, and STRIPE_SECRET_KEY is not set")
        else:
            yield Check(
                check="settings",
                result="problem",
                code="bad_settings",
                message=str(error),
                remedy="correct the variable: docs/command.md lists them",
            )
        return
    yield fine("settings", f"STRIPE_SECRET_KEY is a key of {_mode(config.livemode)} mode")
    yield from _modes(values, config, client)
    if config.stripe_version != API_VERSION:
        yield Check(
            check="settings",
            result="note",
            code="other_version",
            message=f"STRIPE_API_VERSION asks for {config.stripe_version}, and this package is made for {API_VERSION}",
            remedy="remove STRIPE_API_VERSION, unless it is meant",
        )
    if config.api_base != _STRIPE:
        yield Check(
            check="settings",
            result="note",
            code="other_host",
            message=f"requests go to {config.api_base}",
            remedy="remove STRIPE_API_BASE, unless it is a sandbox of yours",
        )
    yield from _webhook_secrets(config, inbox)
    if any(values.get(name, "").strip() for name in _OAUTH):
        yield from _oauth()


def _placeholders(values: Mapping[str, str]) -> Iterator[Check]:
    found = [name for name in _KEYS if any(mark in values.get(name, "") for mark in _PLACEHOLDERS)]
    if found:
        yield Check(
            check="settings",
            result="problem",
            code="placeholder",
            message=f"{', '.join(found)}: this is the placeholder of an example",
            remedy="put in the value that Stripe's Dashboard shows, under Developers",
        )


def _modes(values: Mapping[str, str], config: StripeConfig, client: Any) -> Iterator[Check]:
    others = {
        "STRIPE_PUBLISHABLE_KEY": values.get("STRIPE_PUBLISHABLE_KEY", "").strip(),
        "STRIPE_CLIENT_SECRET": values.get("STRIPE_CLIENT_SECRET", "").strip(),
    }
    modes = {name: is_live(value) for name, value in others.items() if value}
    if client is not None:
        modes["the client of the inbox"] = client.config.livemode
    for name, livemode in modes.items():
        if livemode != config.livemode:
            yield Check(
                check="settings",
                result="problem",
                code="mode_mismatch",
                message=f"STRIPE_SECRET_KEY is of {_mode(config.livemode)} mode, and {name} of {_mode(livemode)} mode",
                remedy="take both from the same mode of the Dashboard",
            )
    if others["STRIPE_PUBLISHABLE_KEY"] and not others["STRIPE_PUBLISHABLE_KEY"].startswith("pk_"):
        yield Check(
            check="settings",
            result="problem",
            code="secret_is_public",
            message="STRIPE_PUBLISHABLE_KEY is no publishable key (pk_…), and this one is sent to browsers",
            remedy="put in the publishable key; if a secret one has been there, roll it in the Dashboard",
        )
    if values.get("ENVIRONMENT", "").strip().lower() == "production" and not config.livemode:
        yield Check(
            check="settings",
            result="note",
            code="test_in_production",
            message="ENVIRONMENT is production, and the key of test mode moves no money",
            remedy="use the keys of live mode, unless this is a rehearsal",
        )


def _webhook_secrets(config: StripeConfig, inbox: object) -> Iterator[Check]:
    if not config.webhook_secrets:
        # An inbox may have its secrets from elsewhere.
        if inbox is None:
            yield Check(
                check="settings",
                result="note",
                code="no_webhook_secret",
                message="STRIPE_WEBHOOK_SECRET is not set, so no delivery can be verified with it",
                remedy="put in what `atom-stripe endpoints create` printed",
            )
        return
    try:
        WebhookVerifier(config.webhook_secrets)
    except ConfigurationError as error:
        yield Check(
            check="settings",
            result="problem",
            code="bad_webhook_secret",
            message=f"STRIPE_WEBHOOK_SECRET: {error}",
            remedy="put in what `atom-stripe endpoints create` printed (whsec_…)",
        )
    else:
        yield fine("settings", f"STRIPE_WEBHOOK_SECRET holds {counted(len(config.webhook_secrets), 'signing secret')}")


def _oauth() -> Iterator[Check]:
    wrong: str | None = None
    uris: tuple[str, ...] = ()
    try:
        config = OAuthConfig.from_env()
    except ConfigurationError as error:
        wrong = str(error)
    else:
        uris = config.redirect_uris
        if config.client_id is not None and not uris:
            wrong = "there is a client id, and no address that Stripe sends users back to: set STRIPE_REDIRECT_URI"
    if wrong is None:
        yield fine("settings", f"OAuth comes back to {', '.join(uri.partition('?')[0] for uri in uris) or 'no address'}")
        return
    yield Check(
        check="settings",
        result="problem",
        code="bad_oauth_settings",
        message=wrong,
        remedy="correct it, as it is registered with Stripe: Dashboard, Settings, Connect",
    )


def _mode(livemode: bool) -> str:  # noqa: FBT001 - it is what is named
    return "live" if livemode else "test"
