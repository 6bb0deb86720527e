"""
Reconciliation: what Stripe lists and the inbox has not is stored as if it had been delivered.

Per account and mode there is a cursor: everything up to it has been compared. It moves behind what is stored, slice of time by slice of time, so a
run that is killed goes on where it was. Source: https://docs.stripe.com/webhooks/process-undelivered-events
"""

from __future__ import annotations

import inspect
import logging
import math
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.inbox.calling import blocking_call, native_call
from atom_stripe._engine.inbox.comparing import Comparison, Window
from atom_stripe._engine.inbox.gaps import AccountGaps, Findings, ReconcileReport
from atom_stripe._engine.inbox.wishes import Reconciliation, Source, check_accounts, check_overlap, check_since, check_types
from atom_stripe.errors import APIError, AuthenticationError, ConfigurationError, ConnectError, ModeMismatchError, TransportError
from atom_stripe.protocols import AuditEntry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from datetime import datetime

    from atom_stripe._engine.inbox.calling import Calling
    from atom_stripe._engine.inbox.core import InboxCore

_LOGGER = logging.getLogger("atom_stripe.inbox")

# How long Stripe lists events. Source: https://docs.stripe.com/api/events
_KEPT = 30 * 24 * 60 * 60


async def reconcile(
    core: InboxCore,
    client: Any = None,
    *,
    accounts: Iterable[str] = (),
    oauth: Any = None,
    own: bool = True,
    types: Iterable[str] = (),
    delivery_success: bool | None = None,
    since: datetime | float | None = None,
    overlap: float = 3600.0,
    dry_run: bool = False,
    actor: str = "program",
    on_progress: Callable[[AccountGaps], object] | None = None,
) -> ReconcileReport:
    """Compare the inbox of *core* with Stripe's list of events, account by account, and store what is missing."""
    client = core.client if client is None else client
    if client is None:
        msg = "reconcile() asks Stripe: pass a client, or make the inbox with client="
        raise ConfigurationError(msg)
    wanted = Reconciliation(
        types=check_types(types),
        delivery_success=delivery_success,
        since=check_since(since),
        overlap=check_overlap(overlap),
        dry_run=dry_run,
        actor=actor,
        on_progress=on_progress,
    )
    named = check_accounts(accounts)
    if core.config.livemode not in {None, client.config.livemode}:
        msg = "the inbox handles events of the other mode (live or test) than the client's key"
        raise ModeMismatchError(msg)
    asynchronous = inspect.iscoroutinefunction(client.request)
    if core.registry._asynchronous != asynchronous:  # noqa: SLF001 - the core's own part
        msg = "WebhookInbox takes a StripeClient, AsyncWebhookInbox an AsyncStripeClient"
        raise ConfigurationError(msg)
    call: Calling = native_call if asynchronous else blocking_call
    flow = ReconcileFlow(core, call, wanted, livemode=client.config.livemode)
    access = client._access  # noqa: SLF001 - of this package
    if access._user_id is not None:  # noqa: SLF001 - of this package
        msg = "a client made with for_user() lists one account alone: pass the client that it was made from, and oauth="
        raise ConfigurationError(msg)
    if own:
        await flow.account(Source(access.flow, client.config.stripe_account or "", {}), lenient=False)
    done: set[str] = set()
    async with aclosing(_connected(access, named, oauth)) as sources:
        async for account, source in sources:
            if account not in done:
                done.add(account)
                await flow.account(source, lenient=True)
    return flow.report()


async def _connected(access: Any, accounts: Sequence[str], oauth: Any) -> AsyncGenerator[tuple[str, Source], None]:
    for account in accounts:
        yield account, Source(access.flow, account, {"stripe_account": account})
    if oauth is None:
        return
    flows = getattr(oauth, "_flows", None)
    if flows is None:
        msg = "oauth= takes an OAuthManager, or an AsyncOAuthManager for an AsyncWebhookInbox"
        raise ConfigurationError(msg)
    if flows.ports.config.livemode != access.config.livemode:
        msg = "the client and the OAuthManager are of different modes (live and test)"
        raise ModeMismatchError(msg)
    acts_by_token = flows.ports.config.profile == "stripe_app"
    async with aclosing(flows.connections.each(account=None, state=None, access_token=None)) as connections:
        async for connection in connections:
            if not connection.connected:
                continue
            account = str(connection.account)
            if acts_by_token:
                yield account, Source(access.for_user(connection.user_id).flow, account, {}, by_token=True)
            else:
                yield account, Source(access.flow, account, {"stripe_account": account})


class ReconcileFlow:
    """One reconciliation, account after account."""

    def __init__(self, core: InboxCore, call: Calling, wanted: Reconciliation, *, livemode: bool) -> None:
        self._core = core
        self._store = core.store
        self._now = core._clock  # noqa: SLF001 - the core's own time
        self._call = call
        self._wanted = wanted
        self._livemode = livemode
        self._accounts: list[AccountGaps] = []
        self._findings = Findings()

    def report(self) -> ReconcileReport:
        """Return what was found."""
        return ReconcileReport(
            accounts=tuple(self._accounts),
            missed=tuple(self._findings.missed),
            by_type=dict(self._findings.by_type),
            dry_run=self._wanted.dry_run,
        )

    async def account(self, source: Source, *, lenient: bool) -> None:
        """
        Compare one account. *lenient*: what Stripe refuses for it is reported, and the others have their turn.

        Raises:
            StoreError: The store is away. What was stored so far stays, and the next run goes on there.
            APIError, TransportError: The same, of Stripe.
        """
        comparison = await self._begin(source)
        try:
            await comparison.run()
        except (APIError, TransportError, ConnectError) as error:
            # A key of ours that Stripe does not accept lists no other account either.
            if not lenient or (isinstance(error, AuthenticationError) and not source.by_token):
                raise
            _LOGGER.warning("the events of %s could not be listed: %s", source.account, error)
            comparison.gaps = replace(comparison.gaps, error=f"{type(error).__name__}: {error}")
        gaps = comparison.gaps
        if gaps.stored:
            detail = f"{gaps.listed} listed, {gaps.missing} missing, {gaps.stored} stored"
            subject = f"account {gaps.account or 'own'} ({'live' if gaps.livemode else 'test'})"
            await self._call(
                self._store.log,
                AuditEntry(at=self._now(), actor=self._wanted.actor, action="reconcile", subject=subject, detail=detail),
            )
        self._accounts.append(gaps)

    async def _begin(self, source: Source) -> Comparison:
        """Find the window of an account."""
        cursor = self._wanted.cursor(source, livemode=self._livemode)
        now = int(self._now())
        done = _seconds(await self._call(self._store.value, cursor), now + self._wanted.overlap)
        oldest = now - _KEPT
        since = oldest if self._wanted.since is None else int(self._wanted.since)
        # Where to go on, and how far before it to look for what was listed late.
        joint = since if done is None else done if self._wanted.since is None else min(done, since)
        begin = joint if done is None else min(joint, done - math.ceil(self._wanted.overlap))
        hole = None
        if joint < oldest:
            hole = (joint, oldest)
            _LOGGER.warning(
                "Stripe lists events for 30 days, and those of %s were last compared before: older ones may be missing for ever",
                source.account or "the own account",
            )
        gaps = AccountGaps(account=source.account, livemode=self._livemode, since=max(begin, oldest), until=now, hole=hole)
        return Comparison(self._core, self._call, self._wanted, self._findings, Window(source, cursor, gaps))


def _seconds(kept: str | None, latest: float) -> int | None:
    """Return a cursor, ``None`` if there is none, or if it is later than can be."""
    if kept is None:
        return None
    try:
        done = int(kept)
    except ValueError:
        done = None
    if done is None or done > latest:
        _LOGGER.warning("the cursor of a reconciliation is unreadable or in the future; it begins anew")
        return None
    return done
