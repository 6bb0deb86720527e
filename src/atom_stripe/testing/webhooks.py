"""
Webhooks of the sandbox: who wants them, and what became of each delivery.

Functions are called in the process, right after the state changed and before the API call returns. URLs are posted to from a thread, and
only on this machine. Source: https://docs.stripe.com/webhooks
"""

from __future__ import annotations

import inspect
import threading
import time
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.signature import signature_header
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.events import wanted
from atom_stripe.testing._state.machine import dumped
from atom_stripe.testing.courier import Courier, is_local
from atom_stripe.testing.resources import webhook_endpoints

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Sequence

    from atom_stripe.testing._state.machine import Machine
    from atom_stripe.testing._state.store import Account, Row

    Receiver = Callable[[bytes, str], object]
    AsyncReceiver = Callable[[bytes, str], Awaitable[object]]


def sign(body: bytes, secret: str, *, timestamp: float | None = None) -> str:
    """
    Return the ``Stripe-Signature`` header that Stripe would send with *body* to an endpoint with this *secret* (``whsec_…``).

    *timestamp*: when it was signed, in seconds since 1970; now, if left out. Source: https://docs.stripe.com/webhooks#verify-manually
    """
    return signature_header(body, [secret], int(time.time() if timestamp is None else timestamp))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook endpoint of the sandbox. *secret* (``whsec_…``) is what its deliveries are signed with."""

    id: str
    events: tuple[str, ...]
    secret: str = field(repr=False)
    url: str | None = None
    receiver: Receiver | AsyncReceiver | None = None
    connect: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One attempt to deliver an event.

    *status*: what a URL answered. *error*: what a function raised, or why a URL could not be reached or was not tried.
    """

    event: str
    type: str
    endpoint: str
    account: str
    attempt: int
    status: int | None
    error: BaseException | None
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the endpoint took the event: a function returned, a URL answered 2xx. A redirect is a failure."""
        return self.error is None and (self.status is None or 200 <= self.status < 300)


@dataclass(frozen=True, slots=True)
class Parcel:
    """An event on its way to an endpoint."""

    event: str
    type: str
    account: str
    endpoint: Endpoint
    body: bytes = field(repr=False)
    attempt: int = 1


@dataclass(slots=True)
class _Round:
    """That a receiver is being called, as seen from inside it: what it causes is delivered when it has returned."""

    webhooks: Webhooks
    active: bool = True


_ROUND: ContextVar[_Round | None] = ContextVar("atom_stripe_sandbox_round", default=None)


class Webhooks:
    """The webhooks of one sandbox."""

    signing_clock: Callable[[], float]
    """The time that signatures carry: the real one, because receivers compare it with theirs. Replace it to sign in another time."""

    def __init__(self, hosts: Collection[str]) -> None:
        self.signing_clock = time.time
        self._hosts = frozenset(hosts)
        self._receivers: list[tuple[str, Endpoint]] = []
        self._queue: deque[Parcel] = deque()
        self._waiting_for_loop: deque[Parcel] = deque()
        self._unfinished = 0
        self._deliveries: list[Delivery] = []
        self._failed: dict[tuple[str, str], Parcel] = {}
        self._changed = threading.Condition()
        self._courier = Courier(self._post, self._settle)
        self._machine: Machine | None = None

    def bind(self, machine: Machine) -> None:
        """Belong to *machine* from now on."""
        self._machine = machine

    def deliver_to(
        self,
        target: Receiver | AsyncReceiver | str,
        secret: str | None = None,
        events: Sequence[str] = ("*",),
        *,
        connect: bool = False,
    ) -> Endpoint:
        """
        Deliver events from now on and return the endpoint, with its secret.

        *target*: a function that gets the body and the ``Stripe-Signature`` header, or a URL on this machine. A coroutine function is awaited by
        calls of an async client, and by ``drain()``. *secret*: what to sign with; made up if left out. *events*: types, ``*`` for any part.
        *connect*: deliver what happens in connected accounts instead of what happens in the sandbox's own.

        Raises:
            ConfigurationError: The URL leads elsewhere. Test traffic stays here; ``StripeSandbox(webhook_hosts=…)`` names further hosts.
        """
        machine = self._bound()
        signing = secret or f"whsec_{machine.token('whsec', 32)}"
        if isinstance(target, str):
            if not is_local(target, self._hosts):
                msg = "the sandbox delivers webhooks to this machine only; name other hosts in StripeSandbox(webhook_hosts=…)"
                raise ConfigurationError(msg)
            made: list[Row] = []
            machine.perform(
                lambda work: made.append(webhook_endpoints.add(work, target, list(events), secret=signing, connect=connect))
            )
            return _endpoint(made[0])
        endpoint = Endpoint(f"we_{machine.token('we', 24)}", tuple(events), signing, receiver=target, connect=connect)
        with self._changed:
            self._receivers.append((machine.account.id, endpoint))
        return endpoint

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt so far, in the order in which they ended."""
        with self._changed:
            return list(self._deliveries)

    def wait(self, timeout: float = 10.0) -> None:
        """
        Return once everything that was sent so far has been delivered or has failed.

        Raises:
            TimeoutError: It took longer than *timeout* seconds.
            ConfigurationError: Coroutine functions wait for their event loop: ``await sandbox.webhooks.drain()``.
        """
        self.deliver()
        with self._changed:
            if self._waiting_for_loop:
                msg = "deliveries to coroutine functions need their event loop: await sandbox.webhooks.drain()"
                raise ConfigurationError(msg)
            if not self._changed.wait_for(lambda: self._unfinished == 0, timeout):
                msg = f"{self._unfinished} webhooks were not delivered within {timeout} seconds"
                raise TimeoutError(msg)

    def retry_failed(self) -> int:
        """Send again, newly signed, what failed at its last attempt. Returns how many deliveries that is."""
        with self._changed:
            again = [replace(parcel, attempt=parcel.attempt + 1) for parcel in self._failed.values()]
            self._failed.clear()
            for parcel in again:
                self._enqueue(parcel)
        self.deliver()
        return len(again)

    def deliver(self) -> None:
        """Call the functions for which something waits. Coroutine functions are left for ``drain()``."""
        with self._round() as outermost:
            while outermost and (parcel := self._next(self._queue)):
                if inspect.iscoroutinefunction(parcel.endpoint.receiver):
                    with self._changed:
                        self._waiting_for_loop.append(parcel)
                else:
                    self._call(parcel)

    async def drain(self) -> None:
        """As ``deliver()``, and await the coroutine functions."""
        with self._round() as outermost:
            while outermost and (parcel := self._next(self._waiting_for_loop) or self._next(self._queue)):
                result = self._call(parcel, asynchronous=True)
                if result is not None:
                    await self._awaited(parcel, result)

    def close(self) -> None:
        """Stop delivering. What waits is forgotten."""
        self._courier.close()
        with self._changed:
            self._queue.clear()
            self._waiting_for_loop.clear()
            self._unfinished = 0
            self._changed.notify_all()

    # What the machine asks, with its lock held.

    def count(self, account: Account, type: str) -> int:
        """Return how many endpoints want such an event of *account*."""
        return sum(1 for _ in self._interested(account, type))

    def post(self, account: Account, event: Row) -> None:
        """Take an event for delivery."""
        endpoints = list(self._interested(account, event["type"]))
        body = dumped(event) if endpoints else b""
        with self._changed:
            for endpoint in endpoints:
                self._enqueue(Parcel(event["id"], event["type"], account.id, endpoint, body))

    def _interested(self, account: Account, type: str) -> Iterator[Endpoint]:
        for owner in (account.id, account.platform):
            if owner is None:
                continue
            rows = self._bound().accounts[owner].table(webhook_endpoints.WEBHOOK_ENDPOINT.name).values()
            candidates = [_endpoint(row) for row in rows if row.get("status") == "enabled"]
            candidates += [endpoint for receiver_owner, endpoint in self._receivers if receiver_owner == owner]
            for endpoint in candidates:
                # An endpoint hears of its own account or of the connected ones, never of both. Source: https://docs.stripe.com/connect/webhooks
                if endpoint.connect == (owner != account.id) and wanted(type, endpoint.events):
                    yield endpoint

    def _enqueue(self, parcel: Parcel) -> None:
        self._unfinished += 1
        if parcel.endpoint.receiver:
            self._queue.append(parcel)
        else:
            self._courier.send(parcel)

    def _next(self, queue: deque[Parcel]) -> Parcel | None:
        with self._changed:
            return queue.popleft() if queue else None

    def _call(self, parcel: Parcel, *, asynchronous: bool = False) -> Awaitable[object] | None:
        """Call a function. What it raises is recorded; what it returns to be awaited, an async caller gets."""
        receiver = parcel.endpoint.receiver
        error: BaseException | None = None
        try:
            result: Any = receiver(parcel.body, self._signature(parcel)) if receiver else None
            if inspect.isawaitable(result):
                if asynchronous:
                    return result
                if inspect.iscoroutine(result):
                    result.close()
                error = ConfigurationError(
                    "the receiver returned a coroutine; pass the coroutine function itself, and use an async client"
                )
        except Exception as raised:  # noqa: BLE001 - whatever a receiver does, the API call goes on
            error = raised
        except BaseException as raised:
            self._settle(parcel, None, raised)
            raise
        self._settle(parcel, None, error)
        return None

    async def _awaited(self, parcel: Parcel, result: Awaitable[object]) -> None:
        try:
            await result
        except Exception as raised:  # noqa: BLE001 - as above
            self._settle(parcel, None, raised)
        except BaseException as raised:
            self._settle(parcel, None, raised)
            raise
        else:
            self._settle(parcel, None, None)

    def _post(self, parcel: Parcel) -> dict[str, str] | None:
        """Return the headers for a delivery over HTTP, ``None`` if its URL leads elsewhere."""
        if not is_local(parcel.endpoint.url or "", self._hosts):
            return None
        return {"Stripe-Signature": self._signature(parcel), "Content-Type": "application/json; charset=utf-8"}

    def _signature(self, parcel: Parcel) -> str:
        return sign(parcel.body, parcel.endpoint.secret, timestamp=self.signing_clock())

    def _settle(self, parcel: Parcel, status: int | None, error: BaseException | None) -> None:
        """Record how an attempt ended."""
        delivery = Delivery(
            parcel.event, parcel.type, parcel.endpoint.id, parcel.account, parcel.attempt, status, error, parcel.body
        )
        if delivery.ok:
            self._bound().delivered(parcel.account, parcel.event)
        with self._changed:
            self._deliveries.append(delivery)
            if not delivery.ok:
                self._failed[parcel.endpoint.id, parcel.event] = parcel
            self._unfinished -= 1
            self._changed.notify_all()

    def _bound(self) -> Machine:
        if self._machine is None:
            msg = "these webhooks belong to no sandbox"
            raise ConfigurationError(msg)
        return self._machine

    @contextmanager
    def _round(self) -> Generator[bool]:
        """Yield whether this is not inside a receiver of this sandbox: what a receiver causes waits until it has returned."""
        current = _ROUND.get()
        if current and current.webhooks is self and current.active:
            yield False
            return
        beginning = _Round(self)
        token = _ROUND.set(beginning)
        try:
            yield True
        finally:
            beginning.active = False
            _ROUND.reset(token)


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(row["id"], tuple(row["enabled_events"]), row["_secret"], url=row["url"], connect=row["_connect"])
