"""From the bytes of a delivery to a row that survives a crash."""

from __future__ import annotations

import logging
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from atom_stripe._engine.inbox.payments import Payments
from atom_stripe._engine.inbox.values import UNPARSABLE, Receipt
from atom_stripe._engine.process import ForkSafeLock
from atom_stripe._wire.lanes import full_lane, lane_key
from atom_stripe.errors import (
    ConfigurationError,
    InboxBusyError,
    InvalidSignatureError,
    MalformedEventError,
    StoreError,
    WebhookError,
)
from atom_stripe.models.event import Event, EventNotification
from atom_stripe.protocols import Arrival, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atom_stripe._engine.inbox.group_commit import GroupCommit
    from atom_stripe._engine.inbox.pending import Pending
    from atom_stripe._engine.inbox.tally import Tally
    from atom_stripe.inbox_config import InboxConfig
    from atom_stripe.protocols import Appended

    Body = bytes | bytearray | memoryview | str
    Lane = Callable[[Event | EventNotification], str]

_LOGGER = logging.getLogger("atom_stripe.inbox")
_LONGEST_TEXT = 255
_DEFAULT = "default"


class Verifier(Protocol):
    """A ``WebhookVerifier``."""

    def verify(self, body: Body, signature: str | bytes | None) -> Event | EventNotification: ...

    def authentic(self, body: Body, signature: str | bytes | None) -> bytes: ...


class Intake:
    """Verifies deliveries, decides what they are, and submits them to the store."""

    def __init__(
        self,
        verifiers: object,
        appender: GroupCommit,
        config: InboxConfig,
        *,
        lane: Lane | None,
        clock: Callable[[], float],
        tally: Tally,
    ) -> None:
        self._verifiers = _verifiers(verifiers)
        self._appender = appender
        self._config = config
        self._lane = lane
        self._clock = clock
        self._tally = tally
        self.payments = Payments(tally.signals, config)
        self._refusals = _Bucket(config.refusals_per_second)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints."""
        return tuple(self._verifiers)

    def arrival(self, body: Body, signature: str | bytes | None, endpoint: str | None) -> Arrival:
        """
        Return what was delivered, verified.

        Raises:
            WebhookError: It is refused; that is written down.
            ConfigurationError: There is no such endpoint.
        """
        name, verifier = self._endpoint(endpoint)
        try:
            self._check_size(body, signature)
            return self._read(body, signature, name, verifier)
        except WebhookError as error:
            self._refuse(name, error)
            raise

    def receipt(self, arrival: Arrival, appended: Appended) -> Receipt:
        """Return the receipt for *arrival*."""
        self._tally.count(appended.outcome)
        outcome = cast('Literal["stored", "duplicate", "requeued"]', appended.outcome)
        return Receipt(outcome=outcome, event_id=arrival.event_id, type=arrival.type, id=appended.id)

    def submit(self, arrival: Arrival) -> Pending:
        """Begin to store *arrival*."""
        try:
            pending = self._appender.submit(arrival)
        except InboxBusyError:
            self._tally.count("busy")
            raise
        self.payments.watch(arrival, pending)
        return pending

    def busy(self, error: BaseException) -> InboxBusyError:
        """Return what to tell Stripe when the store failed with *error*, or did not answer in time."""
        self._tally.count("busy")
        if isinstance(error, TimeoutError):
            msg = f"the database did not answer within {self._config.accept_timeout:g} s; Stripe will deliver again"
        else:
            msg = f"the event could not be stored, and Stripe will deliver it again: {error}"
        return InboxBusyError(msg, retry_after=self._config.retry_after)

    def _endpoint(self, endpoint: str | None) -> tuple[str, Verifier]:
        if endpoint is None and len(self._verifiers) == 1:
            ((name, verifier),) = self._verifiers.items()
            return name, verifier
        if endpoint is None or endpoint not in self._verifiers:
            msg = (
                f"receive(…, endpoint=…) is one of {', '.join(self._verifiers)}: it says whose secret the delivery was signed with"
            )
            raise ConfigurationError(msg)
        return endpoint, self._verifiers[endpoint]

    def _check_size(self, body: object, signature: object) -> None:
        # Before anything else looks at them.
        if isinstance(signature, (str, bytes)) and len(signature) > self._config.max_header_length:
            msg = f"the Stripe-Signature header is longer than {self._config.max_header_length} characters"
            raise InvalidSignatureError(msg)
        size = body.nbytes if isinstance(body, memoryview) else len(body) if isinstance(body, (bytes, bytearray, str)) else 0
        if size > self._config.max_body_bytes:
            msg = f"the body is longer than {self._config.max_body_bytes} bytes"
            raise MalformedEventError(msg)

    def _read(self, body: Body, signature: str | bytes | None, endpoint: str, verifier: Verifier) -> Arrival:
        try:
            event = verifier.verify(body, signature)
        except MalformedEventError as error:
            # Raises once more if it was not signed.
            content = verifier.authentic(body, signature)
            return self._unparsable(content, endpoint, error)
        content = body.encode() if isinstance(body, str) else bytes(body)
        account = _account(event)
        if not (_fits(event.id) and _fits(event.type) and _fits(account)):
            return self._unparsable(content, endpoint, None)
        return self.arrival_of(event, content, endpoint)

    def arrival_of(self, event: Event | EventNotification, payload: bytes, endpoint: str) -> Arrival:
        """Return *event*, which is Stripe's beyond doubt and was written as *payload*, as an arrival at *endpoint*."""
        raw = event._raw  # noqa: SLF001 - to_dict() would copy it
        livemode = raw.get("livemode") is True
        account = _account(event)
        created = event.created_at
        return Arrival(
            event_id=event.id,
            type=event.type,
            account=account,
            livemode=livemode,
            lane=full_lane(self._key(event, raw), account=account, livemode=livemode),
            payload=payload,
            endpoint=endpoint,
            received_at=self._clock(),
            api_version=_text(raw.get("api_version")) if isinstance(event, Event) else None,
            created=created.timestamp() if created else None,
            object_id=_object_id(event, raw),
        )

    def _key(self, event: Event | EventNotification, raw: dict[str, Any]) -> str:
        if self._lane is not None:
            # What is wrong with a function of the user's must not cost an event: it has the lane that it would have without.
            try:
                key = self._lane(event)
                if isinstance(key, str) and key:
                    return key
                _LOGGER.warning("the lane function gave no text for %s; its default lane is taken", event.type)
            except Exception:
                _LOGGER.exception("the lane function failed for %s; its default lane is taken", event.type)
        return lane_key(raw)

    def _unparsable(self, content: bytes, endpoint: str, error: MalformedEventError | None) -> Arrival:
        digest = sha256(content).hexdigest()
        _LOGGER.error("a signed delivery is not an event; it is kept and parked: %s", error or "its id, type or account is no text")
        self._tally.count(UNPARSABLE)
        livemode = bool(self._config.livemode)
        return Arrival(
            event_id=f"{UNPARSABLE}_{digest}",
            type=UNPARSABLE,
            account="",
            livemode=livemode,
            lane=full_lane(f"{UNPARSABLE}_{digest}", account="", livemode=livemode),
            payload=content,
            endpoint=endpoint,
            received_at=self._clock(),
        )

    def _refuse(self, endpoint: str, error: WebhookError) -> None:
        reason = type(error).__name__
        self._tally.count("refused")
        now = self._clock()
        if not self._refusals.take(now):
            self._tally.count("refused_unlogged")
            return
        # Nobody waits for it: a refusal must cost whoever asks for it more than us.
        with suppress(InboxBusyError, StoreError):
            self._appender.submit(Refusal(endpoint=endpoint, reason=reason, received_at=now))


class _Bucket:
    """So many a second, and as many at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._at: float | None = None
        self._lock = ForkSafeLock()

    def take(self, now: float) -> bool:
        with self._lock:
            passed = 0.0 if self._at is None else max(0.0, now - self._at)
            self._at = now
            self._left = min(self._rate, self._left + passed * self._rate)
            if self._left < 1:
                return False
            self._left -= 1
            return True


def _verifiers(given: Any) -> Mapping[str, Verifier]:
    named: dict[str, Any] = dict(given) if hasattr(given, "items") else {_DEFAULT: given}
    for name, verifier in named.items():
        if not isinstance(name, str) or not name or len(name) > _LONGEST_TEXT or not name.isprintable() or not name.isascii():
            msg = "the name of an endpoint is a short ASCII text"
            raise ConfigurationError(msg)
        if not callable(getattr(verifier, "verify", None)) or not callable(getattr(verifier, "authentic", None)):
            msg = "an inbox takes a WebhookVerifier, or a mapping of endpoints' names to WebhookVerifiers"
            raise ConfigurationError(msg)
    if not named:
        msg = "an inbox needs at least one WebhookVerifier"
        raise ConfigurationError(msg)
    return named


def _account(event: Event | EventNotification) -> str:
    # Most events have no such field, and what is not there is looked for longest.
    return (event._raw.get("account") if isinstance(event, Event) else event.account) or ""  # noqa: SLF001


def _object_id(event: Event | EventNotification, raw: dict[str, Any]) -> str | None:
    thing = raw["data"]["object"] if isinstance(event, Event) else raw.get("related_object")
    return _text(thing.get("id")) if isinstance(thing, dict) else None


def _fits(value: object) -> bool:
    """Return whether *value* is a text that every database takes."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isascii() and value.isprintable()


def _text(value: object) -> str | None:
    return cast("str", value) if value and _fits(value) else None
