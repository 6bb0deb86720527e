"""What the HTTP answer that brought an object said beside the object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The status and headers of one HTTP answer of Stripe's.

    Header names are in lower case. Source: https://docs.stripe.com/api/request_ids
    """

    status: int
    headers: Mapping[str, str]

    @property
    def request_id(self) -> str | None:
        """Stripe's id of the request (``req_…``)."""
        return self.headers.get("request-id")

    @property
    def idempotent_replayed(self) -> bool:
        """Whether this is the stored answer of an earlier request under the same idempotency key."""
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def api_version(self) -> str | None:
        """The API version in which Stripe wrote the answer."""
        return self.headers.get("stripe-version")
