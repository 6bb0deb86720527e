"""
What Stripe sends, verified.

Rule: nothing in a delivery is believed before its signature is checked, and nothing but ``WebhookError`` leaves ``verify``, whatever the
bytes. The verifier is pure: it stores nothing and asks nobody, so one class serves sync and async programs.
"""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, Self

from atom_stripe._wire.decoding import json_object
from atom_stripe._wire.paths import check_path
from atom_stripe._wire.signature import SigningKey, matches, parse
from atom_stripe.errors import ConfigurationError, EncodingError, InvalidSignatureError, MalformedEventError, StaleTimestampError
from atom_stripe.models.event import Event, EventNotification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import SecretStr

    from atom_stripe.config import StripeConfig

# Stripe's largest events are some hundred kilobytes.
_LARGEST_BODY = 4 * 1024 * 1024
_MOST_SECRETS = 32
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,500}")


class WebhookVerifier:
    """
    Checks deliveries of Stripe's and reads the events in them.

    Args:
        secrets: The signing secret (``whsec_…``) of your endpoint, or several: those of other endpoints, of the other mode, or the old and
            the new one while you roll a secret. Any of them will do.
        tolerance: The oldest signature that counts, in seconds. Stripe signs every attempt anew, so a retry is never too old.
        future_tolerance: How far ahead of ours Stripe's clock may be, in seconds.
        max_body_bytes: Longer bodies are refused.
        clock: The time now, in seconds since 1970.

    Raises:
        ConfigurationError: There is no secret, or one is malformed. Secrets are never shown.

    Source: https://docs.stripe.com/webhooks#verify-events
    """

    def __init__(
        self,
        secrets: str | SecretStr | Iterable[str | SecretStr],
        *,
        tolerance: float = 300.0,
        future_tolerance: float = 60.0,
        max_body_bytes: int = _LARGEST_BODY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = _checked(secrets)
        if not (_finite(tolerance) and tolerance > 0 and _finite(future_tolerance) and future_tolerance >= 0):
            msg = "tolerance (above 0) and future_tolerance (0 or more) are seconds: a signature that never ages can be replayed for ever"
            raise ConfigurationError(msg)
        if not isinstance(max_body_bytes, int) or isinstance(max_body_bytes, bool) or max_body_bytes <= 0:
            msg = "max_body_bytes must be a whole number above 0"
            raise ConfigurationError(msg)
        self._tolerance = tolerance
        self._future_tolerance = future_tolerance
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    @classmethod
    def from_config(cls, config: StripeConfig) -> WebhookVerifier:
        """Return a verifier with the ``webhook_secrets`` of *config* (``STRIPE_WEBHOOK_SECRET`` in the environment)."""
        return cls(config.webhook_secrets)

    def verify(self, body: bytes | bytearray | memoryview | str, signature: str | bytes | None) -> Event | EventNotification:
        """
        Return the event in *body*, which Stripe sent with the header ``Stripe-Signature``.

        *body* is the request's body exactly as it came; a body that was parsed and written again does not verify. An ``Event`` is a snapshot:
        the object is in it, typed, as ``event.data.object``. An ``EventNotification`` is thin: fetch what it is about with
        ``stripe.fetch_related_object(notification)``.

        Raises:
            InvalidSignatureError: Nobody who holds one of our secrets signed this, or there is no signature.
            StaleTimestampError: Signed too long ago, or in the future.
            MalformedEventError: Signed, but too large or not an event.
        """
        content = self.authentic(body, signature)
        raw = json_object(content)
        if raw is None:
            msg = "the body is signed, but it is not a JSON object"
            raise MalformedEventError(msg)
        return _event(raw)

    def authentic(self, body: bytes | bytearray | memoryview | str, signature: str | bytes | None) -> bytes:
        """
        Return *body* as bytes if its signature is good and fresh, whether or not it is an event.

        Raises:
            InvalidSignatureError, StaleTimestampError, MalformedEventError: As ``verify()``; the last only for a body that is too large.
        """
        content = _as_bytes(body)
        if len(content) > self._max_body_bytes:
            msg = f"the body is longer than {self._max_body_bytes} bytes"
            raise MalformedEventError(msg)
        parsed = parse(_as_text(signature))
        if parsed is None:
            msg = "there is no Stripe-Signature header with a time and a v1 signature; is this request from Stripe?"
            raise InvalidSignatureError(msg)
        if not matches(parsed, content, self._keys):
            msg = "no v1 signature fits: is this the endpoint's own secret, and is the body passed on exactly as it came?"
            raise InvalidSignatureError(msg)
        age = self._clock() - parsed.timestamp
        # Written so that a broken clock (NaN) lets nothing in.
        if not -self._future_tolerance <= age <= self._tolerance:
            when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
            msg = f"the body was signed {when}: a replayed delivery, or this machine's clock is wrong"
            raise StaleTimestampError(msg, age=age)
        return content

    def __repr__(self) -> str:
        return f"WebhookVerifier({len(self._keys)} secrets)"

    def __reduce__(self) -> NoReturn:
        msg = "a WebhookVerifier holds secrets, so it is not pickled: make it in the process that needs it"
        raise TypeError(msg)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _checked(secrets: str | SecretStr | Iterable[str | SecretStr]) -> tuple[SigningKey, ...]:
    from pydantic import SecretStr

    if secrets is None or isinstance(secrets, (str, SecretStr)) or not hasattr(secrets, "__iter__"):
        given: list[Any] = [] if secrets is None else [secrets]
    else:
        given = list(islice(secrets, _MOST_SECRETS + 1))
    if len(given) > _MOST_SECRETS:
        msg = f"a WebhookVerifier takes at most {_MOST_SECRETS} signing secrets"
        raise ConfigurationError(msg)
    if not given:
        msg = "a WebhookVerifier needs your endpoint's signing secret (whsec_…): pass it, or set STRIPE_WEBHOOK_SECRET"
        raise ConfigurationError(msg)
    values = [value.get_secret_value() if isinstance(value, SecretStr) else value for value in given]
    for value in values:
        if not isinstance(value, str) or not _SECRET.fullmatch(value):
            msg = "a signing secret looks like whsec_…, with nothing around it; this is something else"
            raise ConfigurationError(msg)
    # What is kept shows no secret, and gives none back.
    return tuple(SigningKey(value.encode()) for value in values)


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _as_bytes(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    # ValueError: half of a surrogate pair, or a memoryview that was released.
    with suppress(ValueError):
        if isinstance(body, (bytearray, memoryview)):
            return bytes(body)
        if isinstance(body, str):
            return body.encode()
    msg = "the body must be the bytes of the request, as they came"
    raise MalformedEventError(msg)


def _as_text(signature: object) -> str:
    if isinstance(signature, str):
        return signature
    return signature.decode("latin-1") if isinstance(signature, bytes) else ""


def _event(raw: dict[str, object]) -> Event | EventNotification:
    identity, kind, name = raw.get("id"), raw.get("type"), raw.get("object")
    if not (isinstance(identity, str) and identity and isinstance(kind, str) and kind):
        msg = "the body is signed, but it has no event id and type"
        raise MalformedEventError(msg)
    if name == "v2.core.event":
        return _notification(raw)
    data = raw.get("data")
    if name == "event" and isinstance(data, dict) and isinstance(data.get("object"), dict):
        return Event.from_stripe(raw)
    msg = "the body is signed, but it is neither an event with its object nor an event notification"
    raise MalformedEventError(msg)


def _notification(raw: dict[str, object]) -> EventNotification:
    related = raw.get("related_object")
    if related is not None:
        # The URL is fetched later with the API key: it must lead to Stripe and nowhere else.
        try:
            check_path(related.get("url") if isinstance(related, dict) else None)
        except EncodingError:
            msg = "the notification's related_object has a URL that is not a path on Stripe's host"
            raise MalformedEventError(msg) from None
    return EventNotification.from_stripe(raw)
