"""``atom-stripe doctor``: what is wrong between a program, its database and Stripe, and what to do about it."""

from __future__ import annotations

import time
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._engine.drive import run
from atom_stripe._engine.endpoints import blocking_endpoints, examine, native_endpoints
from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.examining import Check, fine, settings_checks
from atom_stripe.cli.examining_stores import database_checks, engine_checks, inbox_checks
from atom_stripe.cli.options import DatabaseUrl, Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, emit, note, table
from atom_stripe.cli.programs import inbox_of
from atom_stripe.config import RetryPolicy, StripeConfig
from atom_stripe.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    QueueFullError,
    TransportError,
)

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atom_stripe._engine.doctor import Finding
    from atom_stripe._engine.endpoints import EndpointFlow
    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox

    Inbox = WebhookInbox | AsyncWebhookInbox

_HEAD = ("RESULT", "CHECK", "FOUND")
# Seconds. Deliveries are refused when they seem to be signed a minute from now, or five minutes ago.
_SKEW = 30.0
_NOTED_SKEW = 5.0
_QUICK = RetryPolicy(attempts=2, deadline=20.0)
_TIMEOUT = 10.0
# The same findings come from Python, with remedies in Python.
_COMMANDS = {
    "no_endpoint": "atom-stripe endpoints create URL --enabled-events TYPES",
    "insecure_url": "atom-stripe endpoints update {id} --url https://…",
    "disabled": "atom-stripe endpoints enable {id}, then atom-stripe inbox reconcile MODULE:ATTRIBUTE for what it missed",
    "unfinished_roll_over": "atom-stripe endpoints roll {id} --finish",
    "doubled": "atom-stripe endpoints delete for one of them, once its secret is no longer used",
    "other_version": "atom-stripe endpoints roll {id}, or handlers with versions='refetch'",
    "unknown_accounts": "atom-stripe endpoints create URL --adopt {id} --enabled-events TYPES, with --connect if it is for connected accounts",
    "no_connect_endpoint": "atom-stripe endpoints create URL --connect --enabled-events TYPES",
    "not_subscribed": "atom-stripe endpoints update ID --enabled-events with these too, then atom-stripe inbox reconcile MODULE:ATTRIBUTE",
    "not_handled": "atom-stripe endpoints update {id} --enabled-events with what is handled, or a handler",
}


def doctor(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:ATTRIBUTE]", help="The program's inbox, to compare its handlers with Stripe's endpoints."),
    ] = None,
    *,
    url: Annotated[str | None, typer.Option("--url", help="Look at the webhook endpoints at this URL alone.")] = None,
    connect: Annotated[
        bool | None,
        typer.Option(
            "--connect/--own", show_default=False, help="Whether events of connected accounts are wanted, if types do not say."
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """
    Look at settings, at Stripe, at its webhook endpoints and handlers, at the database, keys, inbox and engine. Exits with 1 if there is a problem.

    It changes nothing, and shows no secret. Every finding says what to do.
    """
    inbox = None if target is None else inbox_of(target)
    found = list(_examined(inbox, url, database_url, connect=connect))
    if json:
        emit({"ok": not _problems(found), "checks": [asdict(check) for check in found]})
    else:
        table(_HEAD, _lines(found))
    if _problems(found):
        note(f"{counted(_problems(found), 'problem')} found.")
        raise typer.Exit(1)


def _problems(found: Iterable[Check]) -> int:
    return sum(check.result == "problem" for check in found)


def _lines(found: Iterable[Check]) -> Iterator[tuple[str, str, str]]:
    for check in found:
        yield check.result, check.check, check.message
        if check.remedy:
            yield "", "", f"-> {check.remedy}"


def _examined(inbox: Inbox | None, url: str | None, database_url: str | None, *, connect: bool | None) -> Iterator[Check]:
    yield from settings_checks(inbox)
    yield from _stripe(inbox, url, connect=connect)
    try:
        database = settings.database_url(database_url)
    except ConfigurationError as error:
        if database_url:
            raise
        yield Check(check="database", result="skipped", code="no_database", message=str(error))
        database = None
    ready = True
    if database is not None:
        for check in database_checks(database):
            ready = ready and check.code not in {"missing_extra", "store_failed", "old_tables"}
            yield check
    if inbox is not None:
        yield from inbox_checks(inbox.store)
        yield from engine_checks(inbox.engine)
    elif database is not None and ready:
        from atom_stripe.stores.sql import SqlInboxStore

        with SqlInboxStore.from_url(database) as store:
            yield from inbox_checks(store)


# What Stripe says.


def _stripe(inbox: Inbox | None, url: str | None, *, connect: bool | None) -> list[Check]:
    """Ask with the inbox's own client, or with the key of the environment."""
    from atom_stripe.client import AsyncStripeClient, StripeClient

    client: Any = None if inbox is None else inbox._core.client  # noqa: SLF001 - of this package
    if isinstance(client, AsyncStripeClient):
        import anyio

        return anyio.run(lambda: _asked(native_endpoints(client), inbox, url, connect=connect))
    if client is not None:
        return run(_asked(blocking_endpoints(client), inbox, url, connect=connect))
    try:
        config = StripeConfig.from_env(timeout=_TIMEOUT, retry=_QUICK)
    except ConfigurationError:
        # It is among the settings.
        return [Check(check="stripe", result="skipped", code="no_key", message="there is no key to ask Stripe with")]
    with StripeClient(config=config) as own:
        return run(_asked(blocking_endpoints(own), inbox, url, connect=connect))


async def _asked(flow: EndpointFlow, inbox: Inbox | None, url: str | None, *, connect: bool | None) -> list[Check]:
    try:
        before = time.time()
        headers = await flow.headers()
        after = time.time()
        endpoints = len(await flow.all())
        findings = await examine(flow, inbox, url=url, connect=connect)
    except (APIError, TransportError, QueueFullError) as error:
        return [_refused(error)]
    version = headers.get("stripe-version")
    mode = "live" if flow.livemode else "test"
    found = [
        fine("stripe", f"Stripe answers in {mode} mode" + (f" and in the API version {version}" if version else "")),
        _clock(headers.get("date"), before, after),
    ]
    found += [_told(finding) for finding in findings]
    if not findings:
        compared = "" if inbox is None else f" and {counted(len(inbox.handlers), 'handler')} fit each other"
        found.append(fine("endpoints", f"{counted(endpoints, 'webhook endpoint')}{compared}"))
    if inbox is None:
        found.append(
            Check(
                check="endpoints",
                result="skipped",
                code="no_inbox",
                message="handlers are compared when the inbox is named: atom-stripe doctor MODULE:ATTRIBUTE",
            )
        )
    return found


def _told(finding: Finding) -> Check:
    command = _COMMANDS.get(finding.code)
    return Check(
        check="endpoints",
        result="problem" if finding.problem else "note",
        code=finding.code,
        message=finding.message,
        remedy=command.replace("{id}", finding.endpoint or "ID") if command else finding.remedy,
        endpoint=finding.endpoint,
    )


def _refused(error: APIError | TransportError | QueueFullError) -> Check:
    if isinstance(error, AuthenticationError):
        # Not in Stripe's words, which hold parts of the key.
        code, message, remedy = (
            "bad_key",
            "Stripe does not accept the key",
            "put in the key that the Dashboard shows: Developers, API keys",
        )
    elif isinstance(error, PermissionDeniedError):
        code, message = "restricted_key", "the key may not read webhook endpoints, so they were not looked at"
        remedy = "let it read Webhook Endpoints, in the Dashboard: Developers, API keys"
    elif isinstance(error, APIError):
        code, message, remedy = (
            "stripe_failed",
            f"Stripe answered with an error: {error}",
            "see https://status.stripe.com, and try again",
        )
    else:
        code, message = "no_answer", f"no answer came from Stripe: {error}"
        remedy = "see that this machine reaches https://api.stripe.com: network, proxy, certificates"
    result = "note" if isinstance(error, PermissionDeniedError) else "problem"
    return Check(check="stripe", result=result, code=code, message=message, remedy=remedy)  # type: ignore[arg-type]


def _clock(date: str | None, before: float, after: float) -> Check:
    """Compare this machine's clock with Stripe's, which tells whole seconds, at some moment between *before* and *after*."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return Check(check="clock", result="skipped", code="no_date", message="the answer did not say what time it is")
    # The least that it can be.
    ahead, behind = before - (theirs + 1.0), theirs - after
    skew = max(ahead, behind, 0.0)
    if skew <= _NOTED_SKEW:
        return fine("clock", "this machine's clock is right")
    where = "ahead of" if ahead > 0 else "behind"
    return Check(
        check="clock",
        result="problem" if skew > _SKEW else "note",
        code="clock_skew",
        message=f"this machine's clock is {skew:.0f} s {where} Stripe's: deliveries may be refused as too old, or too new",
        remedy="have it set over the network: NTP, chrony or systemd-timesyncd",
    )
