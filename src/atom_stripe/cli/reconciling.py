"""``atom-stripe inbox reconcile``: stores what Stripe lists and the inbox has not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._engine.drive import run
from atom_stripe._engine.inbox.auditing import system_user
from atom_stripe._extras import require
from atom_stripe.cli.inbox_options import Actor, Since, Types  # noqa: TC001 - typer reads them
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import document, emit, note, progress, say
from atom_stripe.cli.programs import Target, inbox_of

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe._engine.inbox.gaps import AccountGaps, ReconcileReport


def reconcile(
    target: Target,
    *,
    account: Annotated[
        list[str] | None, typer.Option("--account", metavar="ACCT", help="A connected account to compare too. May be given again.")
    ] = None,
    types: Types = None,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Only events that did not reach every endpoint.")] = False,
    since: Since = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what is missing, and store nothing.")] = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """
    Store what Stripe lists and the inbox has not, with the client of the inbox. Exits with 1 if something is still missing.

    It goes on where the last one ended. Stripe lists events for 30 days.
    """
    import anyio

    from atom_stripe._engine.inbox.reconciling import reconcile as reconciled
    from atom_stripe.inbox import WebhookInbox

    inbox = inbox_of(target)
    core = inbox._core  # noqa: SLF001 - of this package
    with progress("reconciling") as show:

        def told(gaps: AccountGaps) -> None:
            show(gaps.until - gaps.since, max(1, int(time.time()) - gaps.since))

        async def flow() -> ReconcileReport:
            return await reconciled(
                core,
                accounts=account or (),
                types=types or (),
                delivery_success=False if undelivered else None,
                since=since,
                dry_run=dry_run,
                actor=system_user() if actor is None else actor,
                on_progress=told,
            )

        report = run(flow()) if isinstance(inbox, WebhookInbox) else anyio.run(flow)
    if json:
        emit(_document(report))
    else:
        for line in str(report).splitlines():
            say("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line))
    if not report.complete:
        note("Nothing was stored: this was a dry run." if dry_run else "Not everything could be stored; run it again.")
        raise typer.Exit(1)


def _document(report: ReconcileReport) -> dict[str, Any]:
    return {
        "listed": report.listed,
        "missing": report.missing,
        "stored": report.stored,
        "complete": report.complete,
        "dry_run": report.dry_run,
        "accounts": [document(one) for one in report.accounts],
        "missed": [document(one) for one in report.missed],
    }
