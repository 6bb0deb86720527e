"""
The machine: a request goes in, an answer comes out, and events are left behind.

One lock is around every piece of work, so each happens as a whole and one after another.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.messages import Reply
from atom_stripe.config import API_VERSION
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state import access
from atom_stripe.testing._state.browsing import Visit
from atom_stripe.testing._state.clock import Agenda
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing._state.event_log import EventLog
from atom_stripe.testing._state.expansion import expanded
from atom_stripe.testing._state.faults import Faults, LostAnswerError
from atom_stripe.testing._state.grants import Applications, OAuthRefusal, TokenRequest
from atom_stripe.testing._state.ids import Ids
from atom_stripe.testing._state.index import SearchIndex
from atom_stripe.testing._state.json_bodies import read_json
from atom_stripe.testing._state.requests import lower, path_of, read
from atom_stripe.testing._state.routing import Call
from atom_stripe.testing._state.store import Account
from atom_stripe.testing._state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from atom_stripe._wire.messages import Request
    from atom_stripe.testing._state.browsing import Page
    from atom_stripe.testing._state.clock import Clock, Job
    from atom_stripe.testing._state.event_log import Outbox
    from atom_stripe.testing._state.faults import Fault
    from atom_stripe.testing._state.requests import Message
    from atom_stripe.testing._state.routing import Catalog, Endpoint
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Happening

_LONGEST_HOLD = 30.0


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
        body = refusal.body if isinstance(refusal, OAuthRefusal) else {"error": refusal.error}
        return cls(refusal.status, dumped(body), refusal.headers, refusal.kept)


@dataclass(frozen=True, slots=True)
class _Order:
    """What one request is to be done with: its id, its idempotency key, and the fault that it meets."""

    request_id: str
    key: str | None
    fault: Fault | None
    strike: Refusal | LostAnswerError | None

    @property
    def fails(self) -> Refusal | None:
        """The failure in place of the operation's work, once it has begun."""
        return self.strike if self.fault and self.fault.kept and isinstance(self.strike, Refusal) else None


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
        self.faults = Faults(seed)
        self.account = Account(self.ids.new("acct", 16))
        self.accounts = {self.account.id: self.account}
        self.applications = Applications.of(self.account.id, self.ids)
        self._catalog = catalog
        self.events = EventLog(self.accounts, self.ids, clock, self.faults, outbox)
        self.index = SearchIndex()
        self._agenda = Agenda()
        self._held: dict[str, Held] = {}
        self._lock = threading.RLock()
        self._hurried = threading.Event()
        self._closed = False

    def handle(self, request: Request) -> Reply:
        """
        Return Stripe's answer to *request*.

        Raises:
            LostAnswerError: A fault says that no answer arrives.
            ConfigurationError: The sandbox is closed.
        """
        with self._lock:
            self._check_open()
            request_id = self.ids.new("req", 14)
            fault = self.faults.take(request.method.upper(), path_of(request.url))
        headers = {
            "content-type": "application/json",
            "cache-control": "no-cache, no-store",
            "request-id": request_id,
            "stripe-version": API_VERSION,
        }
        order = _Order(request_id, lower(request.headers).get("idempotency-key") or None, fault, fault.strike() if fault else None)
        try:
            outcome = self._answer(request, order, headers)
        except BaseException:
            self._note(request, order, None)
            raise
        if fault and fault.body is not None:
            self._note(request, order, None)
            return Reply(200, headers, fault.body)
        self._note(request, order, outcome)
        headers.update({name.lower(): value for name, value in outcome.headers.items()})
        return Reply(outcome.status, headers, outcome.body)

    def perform(self, job: Job, account: Account | None = None) -> None:
        """Let *job* happen as if Stripe did it by itself."""
        with self._lock:
            self._check_open()
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
            self._check_open()
            while entry := self._agenda.due(moment):
                when, account, job = entry
                self.clock.timestamp = max(when, self.clock.timestamp)
                self.perform(job, self.accounts[account])
            self.clock.timestamp = max(moment, self.clock.timestamp)

    def next_due(self) -> int | None:
        """Return when the next thing happens by itself, ``None`` if nothing will."""
        with self._lock:
            return self._agenda.first()

    def emit(self, happening: Happening, account: Account, **details: Any) -> Row:
        """Make an event of something that did not happen here, and return it as it is kept. *details*: see ``EventLog.record``."""
        with self._lock:
            self._check_open()
            return self.events.record(happening, account, None, **details)

    def find_event(self, identity: str) -> tuple[Account, Row] | None:
        """Return an event, and the account that it is from."""
        with self._lock:
            return self.events.find(identity)

    def close(self) -> None:
        """Answer nothing more, and let nothing happen any more."""
        with self._lock:
            self._closed = True

    def token(self, kind: str, length: int) -> str:
        """Return *length* letters and digits for an id or a secret of a kind."""
        with self._lock:
            return self.ids.token(kind, length)

    def open_account(self, **profile: str) -> Account:
        """Add an account that nobody but its owner has access to. *profile*: see ``Account``."""
        with self._lock:
            account = Account(self.ids.new("acct", 16), profile=profile)
            self.accounts[account.id] = account
            return account

    def connect(self) -> Account:
        """Add an account that is connected to the sandbox's own."""
        with self._lock:
            account = self.open_account()
            account.platform = self.account.id
            account.applications.add(self.applications.client_id)
            return account

    def hurry(self) -> None:
        """Answer at once what is being answered late now."""
        late, self._hurried = self._hurried, threading.Event()
        late.set()

    def delivered(self, account: str, identity: str) -> None:
        """Note that one more of the endpoints that were to get an event took it."""
        with self._lock:
            self.events.taken(account, identity)

    @contextmanager
    def hold(self, key: str) -> Generator[Held]:
        """Keep requests under an idempotency key in flight."""
        held = self._held[key] = Held()
        try:
            yield held
        finally:
            del self._held[key]
            held.release()

    def waits(self, request: Request) -> bool:
        """Return whether the answer to *request* will take its time: it is held, or a fault says so."""
        key = lower(request.headers).get("idempotency-key")
        return key in self._held or self.faults.delays(request.method.upper(), path_of(request.url))

    def _answer(self, request: Request, order: _Order, headers: dict[str, str]) -> Outcome:
        """Do what *request* asks, unless a fault is in the way. Adds to the *headers* of the answer."""
        fault, strike = order.fault, order.strike
        outcome = Outcome(200, b"")
        if fault is None or fault.reaches:
            if order.key:
                headers["idempotency-key"] = order.key[:1000]
            try:
                outcome = self._dispatch(read_json(request, read(request)), order, headers)
            except Refusal as refusal:
                outcome = Outcome.of(refusal)
        if isinstance(strike, Refusal):
            return replace(Outcome.of(strike), headers={**outcome.headers, **strike.headers})
        if strike:
            raise strike
        return outcome

    def _dispatch(self, message: Message, order: _Order, headers: dict[str, str]) -> Outcome:
        if endpoint := self._catalog.endpoint(message.method, message.path):
            return self._exchange(endpoint, message, order)
        if found := self._catalog.page(message.method, message.path):
            return self._browse(*found, message, order)
        access.check_key(message.headers)
        headers["stripe-version"] = access.check_version(message.headers)
        own = access.key_account(message.headers, message.method, self.account, self.accounts, self.clock.timestamp)
        account = access.find_account(message.headers, own, self.accounts)
        return self._operate(message, account, order)

    def _exchange(self, endpoint: Endpoint, message: Message, order: _Order) -> Outcome:
        # Flat, and without what would be an instruction to the API.
        params = {name: value for name, value in message.params.items() if isinstance(value, str) and name != "expand"}
        access.check_developer(message.headers, params.get("client_secret"), restricted=endpoint.restricted)
        call = Call(self.account, self.ids, self.clock, params=params, path=message.path, origin=message.origin, machine=self)
        key = order.key if self.applications.replays or not endpoint.issues else None
        return self._once(message, self.account, order, key, lambda kept: self._run(endpoint.run, call, order, kept))

    def _browse(self, page: Page, arguments: dict[str, str], message: Message, order: _Order) -> Outcome:
        visit = Visit(self, message.path, message.origin, message.query, message.form, arguments)
        if order.fails:
            raise order.fails
        with self._lock:
            shown = page.run(visit)
        self._delay(order)
        return Outcome(shown.status, shown.body, dict(shown.headers))

    def _operate(self, message: Message, account: Account, order: _Order) -> Outcome:
        route, arguments = self._catalog.match(message.method, message.path)
        # Parameters are read before the key is looked at: what fails here leaves nothing under it.
        params = route.read(message.params)
        where: dict[str, Any] = {"arguments": arguments, "path": message.path, "origin": message.origin}
        call = Call(account, self.ids, self.clock, params=params, machine=self, **where)
        # Only POSTs need a key; GET and DELETE are idempotent by themselves.
        key = order.key if message.method == "POST" else None
        return self._once(message, account, order, key, lambda kept: self._run(route.run, call, order, kept))

    def _once(
        self, message: Message, account: Account, order: _Order, key: str | None, run: Callable[[str | None], Outcome]
    ) -> Outcome:
        """Do the work, or under an idempotency *key* that was there before repeat its answer."""
        if key is None:
            if message.method == "POST":
                self._pause(order)
            with self._lock:
                outcome = run(None)
            self._delay(order)
            return outcome
        fingerprint = json.dumps([message.method, message.path, message.params], sort_keys=True)
        with self._lock:
            record = account.keys.begin(key, fingerprint, order.request_id, self.clock.timestamp)
        headers = record.headers
        if record.status is not None:
            self._delay(order)
            return Outcome(record.status, record.body, headers)
        try:
            self._pause(order)
            with self._lock:
                outcome = run(key)
            self._delay(order)
            if isinstance(order.strike, Refusal):
                # It failed after the work had begun, so this is what the key keeps.
                outcome = replace(Outcome.of(order.strike), kept=True)
            with self._lock:
                if outcome.kept:
                    record.status, record.body = outcome.status, outcome.body
        finally:
            with self._lock:
                account.keys.release(key, record)
        return replace(outcome, headers={**outcome.headers, **headers})

    def _pause(self, order: _Order) -> None:
        """Wait while the request is held."""
        if order.key and (held := self._held.get(order.key)):
            held.pause()

    def _delay(self, order: _Order) -> None:
        """Be slow to answer, with the work done and the key in use."""
        if order.fault and order.fault.delay:
            self._hurried.wait(order.fault.delay)

    def _note(self, request: Request, order: _Order, outcome: Outcome | None) -> None:
        """Remember a request for tokens."""
        endpoint = self._catalog.endpoint(request.method.upper(), path_of(request.url))
        if endpoint and endpoint.issues:
            try:
                grant_type = read(request).params.get("grant_type")
            except Refusal:
                grant_type = None
            answer = None if outcome is None else (outcome.status, outcome.body, "Idempotent-Replayed" in outcome.headers)
            noted = TokenRequest.of(endpoint.path, grant_type, order.key, answer)
            with self._lock:
                self.applications.requests.append(noted)

    def _run(self, work: Callable[[Call], Row], call: Call, order: _Order, key: str | None) -> Outcome:
        """Do the work, as a whole or not at all."""
        if order.fails:
            return Outcome.of(order.fails)
        try:
            answer = work(call)
            outcome = Outcome(200, dumped(expanded(answer, call.params.get("expand", ()), self._catalog.kinds, call)))
        except Refusal as refusal:
            outcome = Outcome.of(refusal)
            if not refusal.committed:
                call.take_back()
                return outcome
        except BaseException:
            call.take_back()
            raise
        self._commit(call, (order.request_id, key))
        return outcome

    def _commit(self, work: Transaction, request: tuple[str, str | None] | None) -> None:
        account = work.account
        self.index.note(work)
        for happening in work.happenings:
            self.events.record(happening, account, request)
        for when, job in work.agenda:
            self._agenda.add(when, account.id, job)
        for job, where in work.afterwards:
            self.perform(job, self.accounts[where])

    def _check_open(self) -> None:
        if self._closed:
            msg = "this sandbox is closed: nothing happens in it any more, and it answers nothing"
            raise ConfigurationError(msg)


def dumped(value: Any) -> bytes:
    """Return *value* as JSON, indented as Stripe does it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()
