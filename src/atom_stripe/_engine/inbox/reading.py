"""Events as they are stored: how they are read again, and what may be kept of an error."""

from __future__ import annotations

import re

from atom_stripe._wire.decoding import json_object
from atom_stripe.config import API_VERSION
from atom_stripe.models.event import Event, EventNotification

_LONGEST_ERROR = 500
# What looks like a key, a token, a signing secret, or the client secret of an object.
_SECRETS = re.compile(r"\b(sk|rk|pk|ek|uk|rt|ac|whsec)_[A-Za-z0-9_+/=-]{6,}|_secret_[A-Za-z0-9_]+")


def stored_event(payload: bytes | None) -> Event | EventNotification | None:
    """Return the event in *payload*, which was verified before it was stored, or ``None`` if it is none."""
    raw = None if payload is None else json_object(payload)
    if raw is None or not isinstance(raw.get("id"), str) or not isinstance(raw.get("type"), str):
        return None
    if raw.get("object") == "v2.core.event":
        return EventNotification.from_stripe(raw)
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("object"), dict):
        return Event.from_stripe(raw)
    return None


def major(version: str | None) -> str | None:
    """Return what API versions without breaking changes between them have in common: ``basil``; before the names, the whole date."""
    return None if version is None else version.partition(".")[2] or version


def in_our_version(event: Event | EventNotification) -> bool:
    """Return whether *event* is written in the major version of Stripe's API that this package was made for. Thin events have no version."""
    return isinstance(event, EventNotification) or major(event.api_version) == major(API_VERSION)


def error_text(error: BaseException) -> str:
    """Return what is kept of *error*: its type and its message, shortened, without what looks like a secret."""
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - a handler's own exception class may do anything here
        message = "(its message cannot be read)"
    # Cut first: a message may be a whole payload.
    message = _SECRETS.sub("…", message[: 2 * _LONGEST_ERROR])
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    # Half of a surrogate pair and NUL are what databases refuse.
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"
