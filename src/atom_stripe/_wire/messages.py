"""A request and its answer as plain values: what a transport takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """
    One HTTP request.

    *url* is absolute, with its query. Header names are written as Stripe documents them. The headers hold the API key, so they
    are left out of the repr, and so is the body.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, read whole. Header names are in lower case; of a repeated header the last one counts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
