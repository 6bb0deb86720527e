"""The description of one operation of Stripe's API. The files in ``resources/`` are made of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Host = Literal["api", "connect", "files", "meter_events"]


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One operation: ``Operation("POST", "/v1/customers/{customer}")``.

    *path* holds its arguments in braces, in the order in which the method takes them. *encodings* names the fields of a v2
    request that Stripe wants as strings (``{"amount": {"value": "int64_string"}}``).
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    host: Host = "api"
    multipart: bool = False
    encodings: Mapping[str, Any] | None = None

    @property
    def version(self) -> Literal[1, 2]:
        """Which of Stripe's two APIs this belongs to: forms and key replay (1), JSON and key re-execution (2)."""
        return 2 if self.path.startswith("/v2/") else 1

    @property
    def reads(self) -> bool:
        """Whether this changes nothing at Stripe, so that doing it twice, or not knowing whether it was done, does no harm."""
        return self.method == "GET" or self.searches

    @property
    def searches(self) -> bool:
        """Whether this is a search: limited more tightly than other reads, and a POST in v2."""
        return self.path.endswith("/search")
