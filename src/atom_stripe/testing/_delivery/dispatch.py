"""The way of a parcel: the queue or the courier, the attempt, what came of it, and the next attempt."""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.signature import signature_header
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._delivery.parcels import Delivery, LostDeliveryError
from atom_stripe.testing._delivery.timetable import SCHEDULES, Timetable
from atom_stripe.testing.courier import Courier, is_local

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from atom_stripe.testing._delivery.directory import Directory
    from atom_stripe.testing._delivery.parcels import Key, Parcel
    from atom_stripe.testing._delivery.timetable import Schedule
    from atom_stripe.testing._state.machine import Machine

_MOST_DELIVERIES = 100_000


@dataclass(slots=True)
class _Round:
    """That a receiver is being called, as seen from inside it: what it causes is delivered when it has returned."""

    dispatch: Dispatch
    active: bool = True


_ROUND: ContextVar[_Round | None] = ContextVar("atom_stripe_sandbox_round", default=None)


class Dispatch:
    """Sends parcels to the endpoints of one sandbox."""

    def __init__(self, machine: Machine, directory: Directory, hosts: frozenset[str]) -> None:
        self.signing_clock: Callable[[], float] = time.time
        self.decoys = False
        self.schedule: Schedule = "live"
        self.courier = Courier(self._prepare, self._settle)
        self._machine = machine
        self._directory = directory
        self._hosts = hosts
        self._queue: deque[Parcel] = deque()
        self._waiting_for_loop: deque[Parcel] = deque()
        self._posted = 0
        self._unfinished = 0
        self._held: dict[str, list[Parcel]] = {}
        self._timetable = Timetable()
        self._failed: dict[Key, Parcel] = {}
        self._pending: dict[tuple[str, str], set[str]] = {}
        self._deliveries: deque[Delivery] = deque(maxlen=_MOST_DELIVERIES)
        self._changed = threading.Condition()

    @property
    def deliveries(self) -> list[Delivery]:
        """The latest attempts, in the order in which they ended."""
        with self._changed:
            return list(self._deliveries)

    # Taking parcels.

    def expect(self, account: str, event: str, endpoints: set[str]) -> None:
        """Note which endpoints have not taken an event yet."""
        with self._changed:
            self._pending[account, event] = endpoints

    def admit(self, parcel: Parcel) -> None:
        """Take the first attempt of a delivery, and let the faults have it. Called with the machine's lock held."""
        faults = self._machine.faults
        fate = faults.fate()
        if fate.lost:
            self._lose(parcel, retried=fate.retried)
            return
        with self._changed:
            for _ in range(fate.copies):
                if fate.delay:
                    self._timetable.add(self._machine.clock.timestamp + fate.delay, parcel)
                elif faults.window > 1:
                    held = self._held.setdefault(parcel.endpoint.id, [])
                    held.append(parcel)
                    if len(held) >= faults.window:
                        self._release(parcel.endpoint.id)
                else:
                    self._enqueue(parcel)

    def send(self, parcel: Parcel) -> None:
        """Take an attempt that no fault touches."""
        with self._changed:
            self._enqueue(parcel)

    def retry_failed(self) -> int:
        """Send again what failed at its last attempt, to endpoints that are still there and turned on."""
        with self._changed:
            failed = list(self._failed.values())
            self._failed.clear()
        return sum(self._again(replace(parcel, attempt=parcel.attempt + 1)) for parcel in failed)

    # The sandbox's time.

    def next_due(self) -> int | None:
        """Return when the next parcel leaves by itself, ``None`` if none will."""
        with self._changed:
            while entry := self._timetable.first():
                when, parcel, failed = entry
                # It was sent by hand meanwhile, or it is the copy of one that is on its way.
                if failed is None or self._failed.get(parcel.key) is failed:
                    return when
                self._timetable.take()
        return None

    def leave(self, until: int) -> None:
        """Send what is due by *until*. An endpoint that was turned off or deleted gets nothing, now or later."""
        while (when := self.next_due()) is not None and when <= until:
            with self._changed:
                entry = self._timetable.first()
                if entry is None:
                    return
                self._timetable.take()
                _, parcel, failed = entry
                if failed is not None:
                    self._failed.pop(parcel.key, None)
            self._again(parcel)

    def rest(self) -> None:
        """Wait until URLs have answered: each does, or its time is over. Not inside a receiver, which is one of those waited for."""
        if not self._inside():
            with self._changed:
                self._changed.wait_for(lambda: self._posted == 0)

    # Delivering.

    def flush(self) -> None:
        """Deliver what a reordering holds back."""
        with self._changed:
            for endpoint in list(self._held):
                self._release(endpoint)
        self.deliver()

    def wait(self, timeout: float) -> None:
        """Return once everything has been delivered or has failed."""
        if self._inside():
            msg = "wait() inside a receiver would wait for that receiver: call it after what caused the webhook has returned"
            raise ConfigurationError(msg)
        self.flush()
        with self._changed:
            if self._waiting_for_loop:
                msg = "deliveries to coroutine functions need their event loop: await sandbox.webhooks.drain()"
                raise ConfigurationError(msg)
            if not self._changed.wait_for(lambda: self._unfinished == 0, timeout):
                msg = f"{self._unfinished} webhooks were not delivered within {timeout} seconds"
                raise TimeoutError(msg)

    def deliver(self) -> None:
        """Call the functions for which something waits. Coroutine functions are left for ``drain()``."""
        if not self._queue:
            return
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
        self.courier.close()
        with self._changed:
            for waiting in (self._queue, self._waiting_for_loop, self._held, self._timetable, self._failed, self._pending):
                waiting.clear()
            self._unfinished = self._posted = 0
            self._changed.notify_all()

    def _again(self, parcel: Parcel) -> bool:
        endpoint = self._directory.now(parcel.endpoint)
        if endpoint is None or not endpoint.enabled:
            return False
        self.send(replace(parcel, endpoint=endpoint))
        return True

    def _release(self, endpoint: str) -> None:
        parcels = self._held.pop(endpoint)
        self._machine.faults.shuffle(parcels)
        for parcel in parcels:
            self._enqueue(parcel)

    def _enqueue(self, parcel: Parcel) -> None:
        self._unfinished += 1
        if parcel.endpoint.receiver:
            self._queue.append(parcel)
        else:
            self._posted += 1
            self.courier.send(parcel)

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

    def _prepare(self, parcel: Parcel) -> tuple[str, dict[str, str]] | None:
        """Return the URL and the headers for a delivery over HTTP, ``None`` if the URL leads elsewhere."""
        url = (self._directory.now(parcel.endpoint) or parcel.endpoint).url or ""
        if not is_local(url, self._hosts):
            return None
        return url, {"Stripe-Signature": self._signature(parcel), "Content-Type": "application/json; charset=utf-8"}

    def _signature(self, parcel: Parcel) -> str:
        """Sign an attempt with every secret that its endpoint has at this moment."""
        endpoint = self._directory.now(parcel.endpoint) or parcel.endpoint
        now = self._machine.clock.timestamp
        secrets = [endpoint.secret, *(secret for secret, until in endpoint.old_secrets if now < until)]
        timestamp = int(self.signing_clock())
        header = signature_header(parcel.body, secrets, timestamp)
        if self.decoys:
            header += f",v0={hashlib.sha256(b'%d.%b' % (timestamp, parcel.body)).hexdigest()}"
        return header

    # What came of it.

    def _lose(self, parcel: Parcel, *, retried: bool) -> None:
        lost = LostDeliveryError("a fault of the sandbox let this delivery vanish")
        with self._changed:
            self._deliveries.append(self._record(parcel, None, lost))
            if retried:
                self._fail(parcel)

    def _settle(self, parcel: Parcel, status: int | None, error: BaseException | None) -> None:
        """Record how an attempt ended."""
        delivery = self._record(parcel, status, error)
        taken = False
        with self._changed:
            if delivery.ok:
                waiting = self._pending.get((parcel.account, parcel.event))
                if waiting and parcel.endpoint.id in waiting:
                    waiting.discard(parcel.endpoint.id)
                    taken = True
                    if not waiting:
                        del self._pending[parcel.account, parcel.event]
        if taken:
            # Before anybody who waits is told: the event's count is right when they look.
            self._machine.delivered(parcel.account, parcel.event)
        with self._changed:
            self._deliveries.append(delivery)
            if not delivery.ok and not parcel.resent:
                self._fail(parcel)
            # Not below zero: a receiver may have closed the sandbox.
            self._unfinished = max(self._unfinished - 1, 0)
            if not parcel.endpoint.receiver:
                self._posted = max(self._posted - 1, 0)
            if self._unfinished == 0 or self._posted == 0:
                self._changed.notify_all()

    def _record(self, parcel: Parcel, status: int | None, error: BaseException | None) -> Delivery:
        return Delivery(
            parcel.event,
            parcel.type,
            parcel.endpoint.id,
            parcel.account,
            parcel.attempt,
            status,
            error,
            parcel.body,
            self._machine.clock.timestamp,
            parcel.resent,
        )

    def _fail(self, parcel: Parcel) -> None:
        self._failed[parcel.key] = parcel
        delays = SCHEDULES[self.schedule]
        if parcel.attempt <= len(delays):
            when = self._machine.clock.timestamp + delays[parcel.attempt - 1]
            self._timetable.add(when, replace(parcel, attempt=parcel.attempt + 1), parcel)

    def _inside(self) -> bool:
        current = _ROUND.get()
        return current is not None and current.dispatch is self and current.active

    @contextmanager
    def _round(self) -> Generator[bool]:
        """Yield whether this is not inside a receiver of this sandbox: what a receiver causes waits until it has returned."""
        if self._inside():
            yield False
            return
        beginning = _Round(self)
        token = _ROUND.set(beginning)
        try:
            yield True
        finally:
            beginning.active = False
            _ROUND.reset(token)
