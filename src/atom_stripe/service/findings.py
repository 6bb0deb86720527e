"""What the checks of a service's health find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["ok", "degraded", "down", "off"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one check found. ``degraded``: it works, and somebody should look; ``down``: it does not work; ``off``: there is nothing to check.

    *facts*: numbers and the like for programs.
    """

    status: Status
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """Return it as it is answered."""
        return {"status": self.status, "detail": self.detail, **self.facts}


Findings = dict[str, Finding]
