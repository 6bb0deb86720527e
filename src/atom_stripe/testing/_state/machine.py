"""
The machine: a request goes in, an answer comes out, and events are left behind.

One lock is around every piece of work, so each happens as a whole and one after another.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from atom_stripe._wire.messages import Reply
from atom_stripe.config import API_VERSION
from atom_stripe.testing._state import access
from atom_stripe.testing._state.clock import Agenda
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing._state.events import EVENT, event
from atom_stripe.testing._state.expansion import expanded
from atom_stripe.testing._state.faults import Faults
from atom_stripe.testing._state.ids import Ids
from atom_stripe.testing._state.requests import path_of, read
from atom_stripe.testing._state.routing import Call
from atom_stripe.testing._state.store import Account
from atom_stripe.testing._state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe._wire.messages import Request
    from atom_stripe.testing._state.clock import Clock, Job
    from atom_stripe.testing._state.requests import Message
    from atom_stripe.testing._state.routing import Catalog, Route
    from atom_stripe.testing._state.store import Row

_LONGEST_HOLD = 30.0


class Outbox(Protocol):
    """Where events go. Called with the machine's lock held, so it only takes notes."""

    def count(self, account: Account, type: str) -> int:
        """Return how many webhook endpoints want such an event."""
        ...

    def post(self, account: Account, event: Row) -> None:
        """Take an event for delivery."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer before its headers. *kept*: whether an idempotency key keeps it."""

    status: int
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    kept: bool = True

    @classmethod
    def of(cls, refusal: Refusal) -> Outcome:
        """Return *refusal* as an answer."""
        return cls(refusal.status, dumped({"error": refusal.error}), refusal.headers, refusal.kept)


class Held:
    """A request that waits: see ``StripeSandbox.hold``."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._released = threading.Event()

    def wait(self, timeout: float = 10.0) -> None:
        """Return once a request under the key is in flight. Raises ``TimeoutError`` if none comes."""
        if not self._arrived.wait(timeout):
            msg = f"no request under the held idempotency key came within {timeout} seconds"
            raise TimeoutError(msg)

    def release(self) -> None:
        """Let the request go on."""
        self._released.set()

    def pause(self) -> None:
        """Be the request: wait to be released."""
        self._arrived.set()
        self._released.wait(_LONGEST_HOLD)


class Machine:
    """The state of a sandbox and everything that changes it."""

    def __init__(self, catalog: Catalog, clock: Clock, outbox: Outbox, *, seed: int) -> None:
        self.ids = Ids(seed)
        self.clock = clock
        self.faults = Faults()
        self.account = Account(self.ids.new("acct", 16))
        self.accounts = {self.account.id: self.account}
        self._catalog = catalog
        self._outbox = outbox
        self._agenda = Agenda()
        self._held: dict[str, Held] = {}
        self._lock = threading.RLock()

    def handle(self, request: Request) -> Reply:
        """
        Return Stripe's answer to *request*.

        Raises:
            LostAnswerError: A fault says that no answer arrives.
        """
        with self._lock:
            request_id = self.ids.new("req", 14)
            fault = self.faults.take(request.method.upper(), path_of(request.url))
        headers = {
            "content-type": "application/json",
            "cache-control": "no-cache, no-store",
            "request-id": request_id,
            "stripe-version": API_VERSION,
        }
        strike = fault.strike() if fault else None
        try:
            if strike and fault and not fault.done:
                raise strike
            message = read(request)
            if key := message.headers.get("idempotency-key"):
                headers["idempotency-key"] = key[:1000]
            access.check_key(message.headers)
            headers["stripe-version"] = access.check_version(message.headers)
            account = access.find_account(message.headers, self.account, self.accounts)
            outcome = self._operate(message, account, request_id, key, strike)
        except Refusal as refusal:
            outcome = Outcome.of(refusal)
        if isinstance(strike, Refusal):
            outcome = replace(Outcome.of(strike), headers={**outcome.headers, **strike.headers})
        elif strike:
            raise strike
        headers.update({name.lower(): value for name, value in outcome.headers.items()})
        return Reply(outcome.status, headers, outcome.body)

    def perform(self, job: Job, account: Account | None = None) -> None:
        """Let *job* happen as if Stripe did it by itself."""
        with self._lock:
            transaction = Transaction(account or self.account, self.ids, self.clock)
            try:
                job(transaction)
            except BaseException:
                transaction.take_back()
                raise
            self._commit(transaction, None)

    def move(self, moment: int) -> None:
        """Set the clock to *moment*, and on the way let happen what is due."""
        with self._lock:
            while entry := self._agenda.due(moment):
                when, account, job = entry
                self.clock.timestamp = max(when, self.clock.timestamp)
                self.perform(job, self.accounts[account])
            self.clock.timestamp = moment

    def token(self, kind: str, length: int) -> str:
        """Return *length* letters and digits for an id or a secret of a kind."""
        with self._lock:
            return self.ids.token(kind, length)

    def connect(self) -> Account:
        """Add an account that is connected to the sandbox's own."""
        with self._lock:
            account = Account(self.ids.new("acct", 16), platform=self.account.id)
            self.accounts[account.id] = account
            return account

    def delivered(self, account: str, identity: str) -> None:
        """Note that one more endpoint took an event."""
        with self._lock:
            row = self.accounts[account].table(EVENT.name)[identity]
            row["pending_webhooks"] = max(row["pending_webhooks"] - 1, 0)

    @contextmanager
    def hold(self, key: str) -> Generator[Held]:
        """Keep requests under an idempotency key in flight."""
        held = self._held[key] = Held()
        try:
            yield held
        finally:
            del self._held[key]
            held.release()

    def holds(self, key: str) -> bool:
        """Return whether requests under an idempotency key are kept in flight."""
        return key in self._held

    def _operate(self, message: Message, account: Account, request_id: str, key: str | None, strike: Exception | None) -> Outcome:
        route, arguments = self._catalog.match(message.method, message.path)
        # Parameters are read before the key is looked at: what fails here leaves nothing under it.
        params = route.read(message.params)
        call = Call(account, self.ids, self.clock, params=params, arguments=arguments, path=message.path)
        # Only POSTs need a key; GET and DELETE are idempotent by themselves.
        if not key or message.method != "POST":
            with self._lock:
                return self._run(route, call, (request_id, None))
        fingerprint = json.dumps([message.method, message.path, message.params], sort_keys=True)
        with self._lock:
            record = account.keys.begin(key, fingerprint, request_id, self.clock.timestamp)
        headers = record.headers
        if record.status is not None:
            return Outcome(record.status, record.body, headers)
        try:
            if held := self._held.get(key):
                held.pause()
            with self._lock:
                outcome = self._run(route, call, (request_id, key))
                if isinstance(strike, Refusal):
                    # It failed after the work had begun, so this is what the key keeps.
                    outcome = replace(Outcome.of(strike), kept=True)
                if outcome.kept:
                    record.status, record.body = outcome.status, outcome.body
        finally:
            with self._lock:
                account.keys.release(key, record)
        return replace(outcome, headers={**outcome.headers, **headers})

    def _run(self, route: Route, call: Call, request: tuple[str, str | None]) -> Outcome:
        """Do the work, as a whole or not at all."""
        try:
            answer = route.run(call)
            outcome = Outcome(200, dumped(expanded(answer, call.params.get("expand", ()), self._catalog.kinds, call)))
        except Refusal as refusal:
            outcome = Outcome.of(refusal)
            if not refusal.committed:
                call.take_back()
                return outcome
        except BaseException:
            call.take_back()
            raise
        self._commit(call, request)
        return outcome

    def _commit(self, work: Transaction, request: tuple[str, str | None] | None) -> None:
        account = work.account
        for happening in work.happenings:
            pending = self._outbox.count(account, happening.type)
            identity = self.ids.new(EVENT.prefix, EVENT.length)
            row = event(happening, account, identity=identity, now=self.clock.timestamp, request=request, pending=pending)
            account.table(EVENT.name)[identity] = row
            self._outbox.post(account, row)
        for when, job in work.agenda:
            self._agenda.add(when, account.id, job)
        for job, where in work.afterwards:
            self.perform(job, self.accounts[where])


def dumped(value: Any) -> bytes:
    """Return *value* as JSON, indented as Stripe does it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()
