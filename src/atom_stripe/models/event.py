"""What webhooks bring. One class serves every kind of event: ``type`` says which, and ``data.object`` is what it happened to."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from atom_stripe.models.base import StripeModel, StripePart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.models.base import StripeObject


class Event(StripeModel):
    """
    A snapshot event: what happened, with the object as it then was, in ``data.object``.

    At run time ``data.object`` is the typed model (``PaymentIntent``, …). Its fields are those of ``api_version``, which is neither
    the client's version nor necessarily the endpoint's; the readers of the models bridge the differences. *created* is in Unix
    seconds and says nothing about the order of events.

    Source: https://docs.stripe.com/api/events/object
    """

    class Data(StripePart):
        """The object of an event."""

        object: StripeObject

        @property
        def previous_attributes(self) -> dict[str, Any] | None:
            """The fields that an update changed, with their old values, as a plain dict of the caller's own."""
            return _own_dict(self._raw.get("previous_attributes"))

    class Request(StripePart):
        """The API request that caused an event; both fields are ``None`` when it was Stripe itself or the Dashboard."""

        id: str | None
        idempotency_key: str | None

    id: str
    object: Literal["event"]
    account: str | None
    context: str | None
    created: int
    data: Data
    livemode: bool
    pending_webhooks: int
    request: Request | None
    type: str

    _shapes: ClassVar[Mapping[str, Any]] = {"data": Data, "request": Request}

    @property
    def api_version(self) -> str | None:
        """The API version in which ``data`` is written. It never changes, whichever version the event is asked for in."""
        version = self._raw.get("api_version")
        return version if isinstance(version, str) else None

    @property
    def created_at(self) -> datetime | None:
        """The time of the event, in UTC; ``None`` if Stripe sent none that can be read."""
        return _from_seconds(self._raw.get("created"))


class EventNotification(StripeModel):
    """
    A thin event: what happened and to which object, without the object. Fetch it from ``related_object.url``.

    *created* is what Stripe sent, an RFC 3339 string; ``created_at`` is the time. The event itself, as the API returns it, has the
    same fields and can have *data*, *changes* and *snapshot_event*, the id of the ``Event`` that tells the same.

    Source: https://docs.stripe.com/api/v2/events
    """

    class RelatedObject(StripePart):
        """The object that an event is about."""

        id: str
        type: str
        url: str

    class Reason(StripePart):
        """Why something happened."""

        class Request(StripePart):
            """The API request that caused an event."""

            id: str
            idempotency_key: str | None

        type: Literal["request"] | str
        request: Request | None

        _shapes: ClassVar[Mapping[str, Any]] = {"request": Request}

    id: str
    object: Literal["v2.core.event"]
    context: str | None
    created: str
    data: StripeObject | None
    livemode: bool
    reason: Reason | None
    related_object: RelatedObject | None
    snapshot_event: str | None
    type: str

    _shapes: ClassVar[Mapping[str, Any]] = {"reason": Reason, "related_object": RelatedObject}

    @property
    def changes(self) -> dict[str, Any] | None:
        """What an update changed, as a plain dict of the caller's own. A notification does not say it, the event itself may."""
        return _own_dict(self._raw.get("changes"))

    @property
    def account(self) -> str | None:
        """The connected account that the event is about, as in ``Event.account``: the end of *context* (``org_1/acct_1``)."""
        context = self._raw.get("context")
        last = context.rpartition("/")[2] if isinstance(context, str) else ""
        return last if last.startswith("acct_") else None

    @property
    def created_at(self) -> datetime | None:
        """The time of the event, in UTC; ``None`` if Stripe sent none that can be read."""
        sent = self._raw.get("created")
        try:
            time = datetime.fromisoformat(sent) if isinstance(sent, str) else None
            return time.astimezone(UTC) if time and time.tzinfo else None
        except (ValueError, OverflowError):
            return None


def _own_dict(value: Any) -> dict[str, Any] | None:
    # Copied, because objects cannot be changed, not even through what they hand out.
    return copy.deepcopy(cast("dict[str, Any]", value)) if type(value) is dict else None


def _from_seconds(seconds: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC) if type(seconds) is int else None
    except (ValueError, OverflowError, OSError):
        return None
