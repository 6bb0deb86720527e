"""
Webhook endpoints at Stripe: made once, kept as they should be, moved to another API version.

Stripe does not say of an endpoint whether it is for connected accounts, so those that are made here say so in their metadata.
Source: https://docs.stripe.com/api/webhook_endpoints
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from atom_stripe._engine.doctor import Patient, diagnose
from atom_stripe._engine.endpoint_values import (
    EnsuredEndpoint,
    RegisteredEndpoint,
    RollOver,
    Wish,
    check_events,
    check_url,
    check_version,
    gone,
    identity_of,
    mark,
    read,
)
from atom_stripe._engine.inbox.calling import blocking_call, native_call
from atom_stripe._engine.inbox.comparing import ENDPOINT
from atom_stripe._engine.pages import Listing
from atom_stripe._wire.operation import Operation
from atom_stripe.errors import ConfigurationError, NotFoundError
from atom_stripe.protocols import InboxQuery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atom_stripe._engine.access import Access
    from atom_stripe._engine.doctor import Finding
    from atom_stripe._engine.inbox.calling import Calling
    from atom_stripe.protocols import InboxStore

_LIST = Operation("GET", "/v1/webhook_endpoints")
_CREATE = Operation("POST", "/v1/webhook_endpoints")
_RETRIEVE = Operation("GET", "/v1/webhook_endpoints/{webhook_endpoint}")
_UPDATE = Operation("POST", "/v1/webhook_endpoints/{webhook_endpoint}")
_DELETE = Operation("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}")

_LOOKED_AT = 200


class EndpointFlow:
    """Everything about endpoints that Stripe is asked for."""

    def __init__(self, access: Access, call: Calling) -> None:
        self._calls = access.flow
        self._livemode = access.config.livemode
        self._access = access
        self._call = call

    @property
    def livemode(self) -> bool:
        """The mode of the client, and of every endpoint that it sees."""
        return self._livemode

    def describe(self) -> str:
        """Return what a repr may show."""
        return self._access.describe()

    async def headers(self) -> Mapping[str, str]:
        """Ask for something small, and return the headers of the answer, their names in lower case."""
        answer = await self._calls.object(_LIST, {"limit": 1})
        return answer.last_response.headers if answer.last_response else {}

    async def all(self) -> tuple[RegisteredEndpoint, ...]:
        """Return all endpoints, the newest first."""
        listing = Listing(self._calls, _LIST, {"limit": 100}, _LIST.path)
        async with aclosing(listing.entries(await listing.fetch())) as entries:
            return tuple([read(entry) async for entry in entries])

    async def ensure(
        self,
        url: str,
        events: Iterable[str],
        *,
        connect: bool,
        description: str | None,
        api_version: str | None,
        adopt: str | None,
    ) -> EnsuredEndpoint:
        """Create the endpoint of *url*, or make it what it should be."""
        wish = Wish(check_url(url, livemode=self._livemode), check_events(events), connect, check_version(api_version), description)
        everything = await self.all()
        if adopt is not None:
            return await self._adopted(wish, _find(everything, adopt))
        at_url = [one for one in everything if one.url == url]
        found = [one for one in at_url if one.connect is connect]
        if not found:
            strangers = [one.id for one in at_url if one.connect is None]
            if strangers:
                msg = (
                    f"{', '.join(strangers)} at this URL was made elsewhere, and Stripe does not say whether it is for connected accounts: "
                    "pass adopt= with its id to take it over, or delete it"
                )
                raise ConfigurationError(msg)
            return await self._created(wish, everything)
        if wish.api_version and wish.api_version not in {one.api_version for one in found}:
            versions = ", ".join(sorted({one.api_version or "your account's" for one in found}))
            msg = f"{found[0].id} is there with the API version {versions}, which cannot be changed: roll_over() moves it to {wish.api_version}"
            raise ConfigurationError(msg)
        # During a roll-over there are two, and both are to get the same events. The one of the wanted version, or the newest, is returned.
        results = [await self._changed(one, wish) for one in found]
        return next((one for one in results if wish.api_version in {None, one.endpoint.api_version}), results[0])

    async def _created(self, wish: Wish, everything: tuple[RegisteredEndpoint, ...]) -> EnsuredEndpoint:
        wish = replace(wish, seen=tuple(one.id for one in everything))
        answer = await self._calls.object(_CREATE, {**wish.params(), "idempotency_key": wish.key()})
        if answer.idempotent_replayed and not await self._exists(str(answer.to_dict().get("id"))):
            # The answer of a day ago, of an endpoint that was deleted since.
            answer = await self._calls.object(_CREATE, wish.params())
        secret = answer.to_dict().get("secret")
        return EnsuredEndpoint(endpoint=read(answer), secret=SecretStr(secret) if isinstance(secret, str) else None, created=True)

    async def _exists(self, endpoint: str) -> bool:
        try:
            found = await self._calls.object(_RETRIEVE, {}, endpoint)
        except NotFoundError:
            return False
        return found.to_dict().get("deleted") is not True

    async def _adopted(self, wish: Wish, found: RegisteredEndpoint) -> EnsuredEndpoint:
        if found.url != wish.url or found.connect is (not wish.connect):
            msg = f"{found.id} is at another URL, or gets the events of other accounts: it cannot be taken over for this"
            raise ConfigurationError(msg)
        if wish.api_version and wish.api_version != found.api_version:
            msg = (
                f"{found.id} has another API version, which cannot be changed: adopt it with api_version=None, and roll_over() then"
            )
            raise ConfigurationError(msg)
        return await self._changed(found, wish)

    async def _changed(self, found: RegisteredEndpoint, wish: Wish) -> EnsuredEndpoint:
        """Update what differs, and nothing if nothing does."""
        params: dict[str, Any] = {}
        if frozenset(found.enabled_events) != frozenset(wish.events):
            params["enabled_events"] = list(wish.events)
        if wish.description is not None and found.description != wish.description:
            params["description"] = wish.description
        if not found.enabled:
            params["disabled"] = False
        if found.connect is None:
            params["metadata"] = mark(connect=wish.connect)
        if params:
            found = await self._update(found.id, params)
        return EnsuredEndpoint(endpoint=found, secret=None, created=False, changed=tuple(params))

    async def _update(self, endpoint: str, params: Mapping[str, Any]) -> RegisteredEndpoint:
        return read(await self._calls.object(_UPDATE, params, endpoint))

    async def update(
        self, endpoint: RegisteredEndpoint | str, *, events: Iterable[str] | None, url: str | None, description: str | None
    ) -> RegisteredEndpoint:
        """Change an endpoint."""
        params: dict[str, Any] = {}
        if events is not None:
            params["enabled_events"] = list(check_events(events))
        if url is not None:
            params["url"] = check_url(url, livemode=self._livemode)
        if description is not None:
            params["description"] = description
        if not params:
            msg = "say what to change: events, url or description"
            raise ConfigurationError(msg)
        return await self._update(identity_of(endpoint), params)

    async def enable(self, endpoint: RegisteredEndpoint | str, *, enabled: bool) -> RegisteredEndpoint:
        """Turn an endpoint on or off."""
        return await self._update(identity_of(endpoint), {"disabled": not enabled})

    async def delete(self, endpoint: RegisteredEndpoint | str) -> None:
        """Delete an endpoint. One that is gone is deleted."""
        try:
            await self._calls.object(_DELETE, {}, identity_of(endpoint))
        except NotFoundError:
            return

    # Another API version.

    async def roll_over(self, endpoint: RegisteredEndpoint | str, api_version: str, *, connect: bool | None) -> EnsuredEndpoint:
        """Create the endpoint that is to replace *endpoint*, or find it."""
        version = check_version(api_version)
        everything = await self.all()
        old = _find(everything, identity_of(endpoint))
        if old.api_version == version:
            msg = f"{old.id} has the API version {version} already"
            raise ConfigurationError(msg)
        for one in everything:
            if one.replaces == old.id and one.api_version == version:
                return EnsuredEndpoint(endpoint=one, secret=None, created=False)
        events_from = old.connect if connect is None else connect
        if events_from is None:
            msg = f"Stripe does not say whether {old.id} is for connected accounts: pass connect=True or connect=False"
            raise ConfigurationError(msg)
        wish = Wish(old.url, old.enabled_events, events_from, version, old.description, old.id)
        return await self._created(wish, everything)

    async def finish_roll_over(
        self, new: RegisteredEndpoint | str, store: InboxStore | None, *, delete: bool, force: bool
    ) -> RollOver:
        """Turn the old endpoint off, if the new one has delivered."""
        everything = await self.all()
        fresh = _find(everything, identity_of(new))
        if fresh.replaces is None:
            msg = f"{fresh.id} was not made by roll_over(), so it replaces none"
            raise ConfigurationError(msg)
        old = next((one for one in everything if one.id == fresh.replaces), None)
        if old is None:
            # Deleted already.
            return RollOver(old=gone(fresh), new=fresh, finished=True)
        if not force:
            if store is None:
                msg = "finish_roll_over() looks into the inbox for what the new endpoint delivered: pass inbox=, or force=True"
                raise ConfigurationError(msg)
            reason = await self._reason(fresh, old, store)
            if reason is not None:
                return RollOver(old=old, new=fresh, finished=False, reason=reason)
        if delete:
            await self.delete(old)
        elif old.enabled:
            old = await self.enable(old, enabled=False)
        return RollOver(old=old, new=fresh, finished=True)

    async def _reason(self, new: RegisteredEndpoint, old: RegisteredEndpoint, store: InboxStore) -> str | None:
        """Return why it is too early, ``None`` if it is not."""
        if not new.enabled:
            return f"{new.id} is disabled: enable() it first"
        if frozenset(old.enabled_events) - frozenset(new.enabled_events) and "*" not in new.enabled_events:
            return f"{new.id} is not subscribed to everything that {old.id} is: update() it first"
        if await self._call(_has_delivered, store, new):
            return None
        return (
            f"no event in the API version {new.api_version} has come in since {new.id} was made: has the inbox its secret, "
            "and has anything happened?"
        )


def blocking_endpoints(client: Any) -> EndpointFlow:
    """Return the flow of the sync class."""
    if inspect.iscoroutinefunction(getattr(client, "request", None)):
        msg = "WebhookEndpoints takes a StripeClient; for an AsyncStripeClient there is AsyncWebhookEndpoints"
        raise ConfigurationError(msg)
    return EndpointFlow(_access(client), blocking_call)


def native_endpoints(client: Any) -> EndpointFlow:
    """Return the flow of the async class."""
    if not inspect.iscoroutinefunction(getattr(client, "request", None)):
        msg = "AsyncWebhookEndpoints takes an AsyncStripeClient; for a StripeClient there is WebhookEndpoints"
        raise ConfigurationError(msg)
    return EndpointFlow(_access(client), native_call)


def _access(client: Any) -> Access:
    access: Access | None = getattr(client, "_access", None)
    if access is None:
        msg = "WebhookEndpoints takes a StripeClient, AsyncWebhookEndpoints an AsyncStripeClient"
        raise ConfigurationError(msg)
    return access


def store_of(inbox: Any) -> InboxStore | None:
    """Return the store of an inbox."""
    store: InboxStore | None = None if inbox is None else inbox.store
    return store


async def examine(flow: EndpointFlow, inbox: Any, *, url: str | None, connect: bool | None) -> tuple[Finding, ...]:
    """Compare what Stripe has with the handlers of *inbox*, an inbox or the types of each handler; ``None``: with no handlers."""
    handlers: dict[str, tuple[str, ...]] | None
    mode: bool | None
    if inbox is None:
        handlers = mode = None
    elif isinstance(inbox, Mapping):
        handlers = {str(name): (types,) if isinstance(types, str) else tuple(types) for name, types in inbox.items()}
        mode = None
    else:
        handlers = {name: handler.patterns for name, handler in inbox.handlers.items()}
        mode = inbox.config.livemode
    patient = Patient(
        endpoints=await flow.all(), handlers=handlers, url=url, connect=connect, livemode=flow.livemode, inbox_livemode=mode
    )
    return diagnose(patient)


def _has_delivered(store: InboxStore, new: RegisteredEndpoint) -> bool:
    """Return whether an event has come in that is written as *new* writes them. Two endpoints at one URL look alike, but for the version."""
    # Stripe tells the second in which it was made: what came within it may be older.
    query = InboxQuery(livemode=new.livemode, received_after=new.created + 1.0, limit=_LOOKED_AT)
    while page := store.find(query):
        for record in page:
            if record.api_version == new.api_version and bool(record.account) is new.connect and record.endpoint != ENDPOINT:
                return True
        query = replace(query, after=page[-1].id)
    return False


def _find(everything: tuple[RegisteredEndpoint, ...], endpoint: str) -> RegisteredEndpoint:
    for one in everything:
        if one.id == endpoint:
            return one
    msg = f"there is no webhook endpoint {endpoint} in this mode of the account"
    raise ConfigurationError(msg)
