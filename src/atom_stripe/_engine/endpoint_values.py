"""Webhook endpoints as values: what Stripe has, what is wanted, and how one becomes the other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import urlsplit

from atom_stripe.config import API_VERSION
from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from atom_stripe.models.base import StripeModel

_MARK = "atom_stripe_events_from"
_REPLACES = "atom_stripe_replaces"
_CONNECTED = "connected_accounts"
_OWN = "own_account"
_TYPE = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_\[\]]+)+")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z_]+)?")
_ID = re.compile(r"we_[A-Za-z0-9_]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredEndpoint:
    """
    An endpoint as Stripe has it. It holds no secret: Stripe shows that once, to whoever creates the endpoint.

    *connect*: whether it gets the events of connected accounts instead of your own; ``None`` if that cannot be told, because it was
    not made by ``ensure()``. *api_version*: the version in which its events are written, ``None`` for your account's. *replaces*: the endpoint
    that it was made to replace, by ``roll_over()``. *created*: seconds since 1970.
    """

    id: str
    url: str
    enabled_events: tuple[str, ...]
    enabled: bool
    livemode: bool
    connect: bool | None
    api_version: str | None
    description: str | None
    created: int
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsuredEndpoint:
    """
    An endpoint that is as it should be.

    *secret*: its signing secret, if it was created now. **Store it at once**, in ``STRIPE_WEBHOOK_SECRET`` for instance: Stripe shows it no
    second time, and without it no delivery can be verified. *changed*: what was changed about an endpoint that was there.
    """

    endpoint: RegisteredEndpoint
    secret: SecretStr | None
    created: bool
    changed: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.created:
            return f"{self.endpoint.id} was created: store its signing secret now, Stripe does not show it again"
        return f"{self.endpoint.id} was there, changed: {', '.join(self.changed) or 'nothing'}"

    def __reduce__(self) -> NoReturn:
        msg = "an EnsuredEndpoint is not pickled: it may hold a signing secret"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOver:
    """
    How far a move to another API version is. *finished*: the old endpoint is off. *reason*: why it is not, in a sentence.
    """

    old: RegisteredEndpoint
    new: RegisteredEndpoint
    finished: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What an endpoint is to be."""

    url: str
    events: tuple[str, ...]
    connect: bool
    api_version: str | None
    description: str | None
    replaces: str | None = None
    seen: tuple[str, ...] = field(default=())

    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = {
            "url": self.url,
            "enabled_events": list(self.events),
            "connect": self.connect,
            "metadata": {**mark(connect=self.connect), **({_REPLACES: self.replaces} if self.replaces else {})},
        }
        if self.api_version:
            params["api_version"] = self.api_version
        return params if self.description is None else {**params, "description": self.description}

    def key(self) -> str:
        """Return an idempotency key that programs share which want the same at once: they get one endpoint, and all its secret."""
        return "endpoint_" + sha256(repr((self.params(), self.seen)).encode()).hexdigest()[:48]


def mark(*, connect: bool) -> dict[str, str]:
    """Return the metadata that says for whose events an endpoint is."""
    return {_MARK: _CONNECTED if connect else _OWN}


def gone(new: RegisteredEndpoint) -> RegisteredEndpoint:
    return RegisteredEndpoint(
        id=cast("str", new.replaces),
        url=new.url,
        enabled_events=(),
        enabled=False,
        livemode=new.livemode,
        connect=new.connect,
        api_version=None,
        description=None,
        created=0,
    )


def read(model: StripeModel) -> RegisteredEndpoint:
    raw = model.to_dict()
    sent = raw.get("metadata")
    metadata: dict[str, Any] = sent if isinstance(sent, dict) else {}
    marked = metadata.get(_MARK)
    connect = {_CONNECTED: True, _OWN: False}.get(marked) if isinstance(marked, str) else None
    if connect is None and isinstance(raw.get("application"), str):
        # Endpoints of a platform for its connected accounts belong to its application.
        connect = True
    events, created = raw.get("enabled_events"), raw.get("created")
    return RegisteredEndpoint(
        id=str(raw.get("id")),
        url=str(raw.get("url") or ""),
        enabled_events=tuple(str(event) for event in events) if isinstance(events, list) else (),
        enabled=raw.get("status") == "enabled",
        livemode=raw.get("livemode") is True,
        connect=connect,
        api_version=_str(raw.get("api_version")),
        description=_str(raw.get("description")),
        created=created if type(created) is int else 0,
        replaces=_str(metadata.get(_REPLACES)),
    )


def _str(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def identity_of(endpoint: object) -> str:
    identity = endpoint.id if isinstance(endpoint, RegisteredEndpoint) else endpoint
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        msg = "an endpoint is named by its id (we_…), or by what list() and ensure() return"
        raise ConfigurationError(msg)
    return identity


def check_events(events: Iterable[str]) -> tuple[str, ...]:
    wanted = () if isinstance(events, str) or not isinstance(events, Iterable) else tuple(events)
    if not wanted or not all(isinstance(event, str) and _TYPE.fullmatch(event) for event in wanted):
        msg = "events are the types to deliver, such as ['invoice.paid'], or ['*'] for all; Stripe knows no other patterns"
        raise ConfigurationError(msg)
    return tuple(sorted(set(wanted)))


def check_version(api_version: str | None) -> str | None:
    if api_version is not None and not (isinstance(api_version, str) and _VERSION.fullmatch(api_version)):
        msg = f"api_version is a version of Stripe's API, such as {API_VERSION}"
        raise ConfigurationError(msg)
    return api_version


def check_url(url: str, *, livemode: bool) -> str:
    """Return *url*, or raise ``ConfigurationError``."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except (ValueError, AttributeError, TypeError):
        complete = False
        parts = None
    if not complete or parts is None:
        msg = "url is a complete address, such as https://shop.example/stripe/webhooks"
        raise ConfigurationError(msg)
    if livemode and parts.scheme != "https":
        msg = "in live mode Stripe delivers to https:// only"
        raise ConfigurationError(msg)
    return url
