"""``atom-stripe connections refresh``: renews tokens near their end, once or again and again."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.options import DatabaseUrl, Json, Profile  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import document, emit, note, say
from atom_stripe.cli.signals import told_to_stop
from atom_stripe.connections import Sweep
from atom_stripe.errors import StoreError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe.oauth import OAuthManager


_STOPPING = "Stopping when the renewals under way are stored."


class _Stopped(BaseException):
    """A signal asked for the end. No ``Exception``: whoever handles errors must not hold it up."""


def refresh(
    *,
    every: Annotated[
        float | None, typer.Option("--every", min=1.0, metavar="SECONDS", help="Go on, with a pause of this length.")
    ] = None,
    profile: Profile = "connect",
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """
    Renew every access token that is near its end. Exits with 1 if one could not be renewed.

    With --every it goes on until SIGTERM or Ctrl-C, and ends when renewals that are under way are stored.
    """
    stop = _Stop()
    with settings.opened_store(database_url) as store, told_to_stop(stop), settings.manager(store, profile) as manager:
        done = _once(manager, stop) if every is None else _again(manager, stop, every, json=json)
    if json:
        emit(document(done))
    elif every is None:
        say(_told(done))
    if every is None and (done.failed or done.reauthorization_required):
        raise typer.Exit(1)


class _Stop:
    """What a signal does: interrupt the work where it may be interrupted. A second one changes nothing, for closing has an end of its own."""

    def __init__(self) -> None:
        self._asked = False
        self._armed = False

    def __call__(self, _number: int, _frame: object) -> None:
        self._asked = True
        if self._armed:
            self._armed = False
            self._raise()

    @contextmanager
    def interrupts(self) -> Generator[None]:
        """Raise ``_Stopped`` at a signal from here on, also for one that came before."""
        self._armed = not self._asked
        try:
            if self._asked:
                self._raise()
            yield
        finally:
            self._armed = False

    @staticmethod
    def _raise() -> NoReturn:
        # Renewals have threads of their own, so this interrupts the wait for them and not the work.
        raise _Stopped


def _once(manager: OAuthManager, stop: _Stop) -> Sweep:
    try:
        with stop.interrupts():
            return manager.refresh_due()
    except _Stopped:
        note(_STOPPING)
        raise typer.Exit(1) from None


def _again(manager: OAuthManager, stop: _Stop, every: float, *, json: bool) -> Sweep:
    """Return the sum of all sweeps until a signal comes."""
    total = Sweep()
    with suppress(_Stopped), stop.interrupts():
        while True:
            try:
                done = manager.refresh_due()
            except StoreError as error:
                # A database that is away comes back.
                note(f"error: {error}")
            else:
                total = Sweep(**{name: getattr(total, name) + getattr(done, name) for name in Sweep.__slots__})
                if not json and done != Sweep():
                    say(_told(done))
            _sleep(every)
    note(_STOPPING)
    return total


def _sleep(seconds: float) -> None:
    # In pieces: a signal that another thread was given is heard when this one wakes up.
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.25))


def _told(done: Sweep) -> str:
    return f"{done.refreshed} renewed, {done.failed} failed, {done.reauthorization_required} need their user"
