"""``atom-stripe worker``: handles events with the handlers of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from atom_stripe._extras import require
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, emit, note, say
from atom_stripe.cli.programs import Target, inbox_of
from atom_stripe.cli.signals import told_to_stop

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox


def worker(
    target: Target,
    *,
    loop: Annotated[
        Literal["asyncio", "trio"], typer.Option("--loop", help="The event loop that an AsyncWebhookInbox runs in.")
    ] = "asyncio",
    json: Json = False,
) -> None:
    """
    Handle events until SIGTERM or Ctrl-C.

    Handlers that are under way then have the time that the inbox's config grants them. Any number of workers may run.
    """
    asked = _Asked()
    with told_to_stop(asked):
        inbox = inbox_of(target)
        _run(inbox, asked, loop)
    counts = dict(sorted(inbox.counts.items()))
    if json:
        emit(counts)
    else:
        told = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items())
        say(f"stopped: {told or 'there was nothing to do'}")


class _Asked:
    """Whether a signal asked for the end, and who is to be told."""

    def __init__(self) -> None:
        self.end = False
        self.tell: Callable[[], object] | None = None

    def __call__(self, _number: int, _frame: object) -> None:
        # Nothing else here: a signal may come in the middle of anything, a print included.
        self.end = True
        if self.tell is not None:
            self.tell()


def _run(inbox: WebhookInbox | AsyncWebhookInbox, asked: _Asked, loop: Literal["asyncio", "trio"]) -> None:
    from atom_stripe.inbox import WebhookInbox

    core = inbox._core  # noqa: SLF001 - run_worker() does not say when it can be stopped
    handlers, threads = inbox.handlers, inbox.config.workers

    def ready() -> None:
        asked.tell = inbox.stop
        note(f"{counted(len(handlers), 'handler')}, {counted(threads, 'thread')}: handling events until SIGTERM or Ctrl-C")
        if asked.end:
            # It came while the inbox was being imported.
            inbox.stop()

    if not handlers:
        note(
            "No handler is registered with this inbox, so every event will count as handled. Is it the module that registers them?"
        )
    if isinstance(inbox, WebhookInbox):
        core.run(ready)
    else:
        import anyio

        anyio.run(core.run_async, ready, backend=loop)
