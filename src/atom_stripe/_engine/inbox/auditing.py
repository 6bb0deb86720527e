"""Who did what to an inbox, and why: the entries of the audit log."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from atom_stripe.errors import ConfigurationError
from atom_stripe.protocols import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    Entry = Callable[[str, str], AuditEntry]

_LONGEST = 200


def entries(clock: Callable[[], float], action: str, actor: str | None, what: str, reason: str) -> Entry:
    """
    Return what makes the entries of one action, of a subject and what was done to it. *actor*: ``None`` for the user of the operating system.

    Raises:
        ConfigurationError: *actor* or *reason* is no text in one line.
    """
    who = _text(system_user() if actor is None else actor, "actor")
    parts = [what, f"reason: {_text(reason, 'reason')}" if reason else ""]

    def entry(subject: str, more: str) -> AuditEntry:
        detail = "; ".join(part for part in (more, *parts) if part)
        return AuditEntry(at=clock(), actor=who, action=action, subject=subject, detail=detail)

    return entry


def system_user() -> str:
    """Return who runs this process, as the operating system calls them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        # In a container a user may have a number and no name.
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST or not value.isprintable():
        msg = f"{name} is a text in one line, of up to {_LONGEST} letters"
        raise ConfigurationError(msg)
    return value
