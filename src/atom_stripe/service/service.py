"""The HTTP face without a framework: which routes there are, and what every request goes through."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.drive import run
from atom_stripe.errors import (
    AtomStripeError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    ReauthorizationRequiredError,
)
from atom_stripe.metrics import NoMetrics, Readable
from atom_stripe.service.exchange import Exchange, settled
from atom_stripe.service.inputs import read_body, read_query
from atom_stripe.service.limiting import RateLimiter
from atom_stripe.service.messages import Answer, Caller, Request
from atom_stripe.service.problems import Problem, problem_of
from atom_stripe.service.routes import OPERATIONS
from atom_stripe.service.settings import ServiceConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atom_stripe.errors import APIError
    from atom_stripe.metrics import Metrics
    from atom_stripe.service.operation import Operation

LOG = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the service works with: clients, managers and inboxes of one colour."""

    client: Any = None
    oauth: Any = None
    inbox: Any = None
    authorize: Callable[..., Any] | None = None
    authorize_operator: Callable[..., Any] | None = None
    metrics: Metrics | None = None


class Service:
    """
    The routes of the given parts, and the rules that every request is held to.

    *asynchronous*: which colour the parts have. *extra*: which extra brings the framework, for advice.

    Raises:
        ConfigurationError: Routes would be open to everybody, or the parts do not fit together.
    """

    def __init__(self, parts: Parts, config: ServiceConfig | None = None, *, asynchronous: bool, extra: str) -> None:
        self.parts = parts
        self.config = config or ServiceConfig()
        self.asynchronous = asynchronous
        _check(parts, asynchronous=asynchronous)
        self.operations = tuple(_offered(parts))
        self.metrics: Metrics = parts.metrics or NoMetrics()
        self.limiter = RateLimiter(self.config, asynchronous=asynchronous, extra=extra)
        #: What operations remember between requests, such as when Stripe was last seen.
        self.memory: dict[str, Any] = {}

    def answer_now(self, operation: Operation, request: Request, who: object = None) -> Answer:
        """Return the answer to *request*, in a service whose parts are sync."""
        return run(self.answer(operation, request, who))

    async def answer(self, operation: Operation, request: Request, who: object = None) -> Answer:
        """
        Return the answer to *request*: a problem, if it comes to that. Raises nothing that is an ``Exception``.

        *who*: what ``authorize`` returned: a ``Caller``, a user's id, or ``None`` for nobody.
        """
        began = time.perf_counter()
        try:
            answer = await self._answered(operation, request, who)
        except AtomStripeError as error:
            answer = self._told(operation, error)
        except Exception:
            LOG.exception("%s failed", operation.name)
            answer = Problem(500, "internal_error", "Something is wrong with this service. Its operator has to look.").answer()
        self._measure(operation, answer, time.perf_counter() - began)
        return answer

    def authorize(self, operation: Operation) -> Callable[..., Any] | None:
        """Return what says who calls; ``None`` where nobody has to say it."""
        if operation.access == "caller":
            return self.parts.authorize
        return (self.parts.authorize_operator or self.parts.authorize) if operation.access == "operator" else None

    def body_limit(self, operation: Operation) -> int:
        """Return how many bytes of a body are read at most; a longer one is answered with ``too_large``."""
        return self.parts.inbox.config.max_body_bytes if operation.access == "signed" else self.config.max_body_bytes

    def too_large(self, operation: Operation) -> Answer:
        """Return the answer to a body that is longer than ``body_limit``."""
        answer = Problem(413, "too_large", f"A body has {self.body_limit(operation)} bytes at most.").answer()
        self._measure(operation, answer, 0.0)
        return answer

    async def close(self) -> None:
        """Close what is the service's own. The parts stay yours to close."""
        await self.limiter.close()

    async def _answered(self, operation: Operation, request: Request, who: object) -> Answer:
        if operation.access == "signed":
            return await operation.handle(Exchange(self, request, None, None, None))
        caller = await self._admitted(operation, request, who)
        if operation.prefixes:
            _check_id(operation, request.path["id"])
        query = read_query(operation.query, request.query)
        body = None
        if operation.method == "POST":
            _check_type(request)
            body = read_body(operation.body, request.body) if operation.body else None
        if operation.writes:
            _check_key(request)
        exchange = Exchange(self, request, caller, query, body)
        try:
            return await operation.handle(exchange)
        except (AuthenticationError, PermissionDeniedError) as error:
            # What looks like a wrong key of ours can be a user who ended the connection at Stripe.
            if exchange.acts_for_user and await self._ended(exchange, error):
                raise ReauthorizationRequiredError(str(error), user_id=exchange.user_id) from error
            raise

    async def _ended(self, exchange: Exchange, error: APIError) -> bool:
        """Return whether the caller's connection has come to an end, as far as *error* and the manager know."""
        if error.code == "account_invalid":
            return True
        connection = await settled(self.parts.oauth.connection(exchange.user_id))
        return not connection.connected

    async def _admitted(self, operation: Operation, request: Request, who: object) -> Caller | None:
        if operation.access in {"open", "browser"}:
            await self.limiter.admit("address", request.address or "?")
            return None
        caller = Caller(who) if isinstance(who, str) else who
        if caller is None or not isinstance(caller, Caller):
            # Guesses are counted, or a key could be tried as often as one likes.
            await self.limiter.admit("address", request.address or "?")
            if caller is not None:
                msg = f"authorize returned a {type(who).__name__}: it returns a Caller, a user's id, or None"
                raise ConfigurationError(msg)
            raise Problem(401, "not_authorized", "Say who you are.", headers={"WWW-Authenticate": "Bearer"})
        await self.limiter.admit("caller", caller.user_id)
        return caller

    def _told(self, operation: Operation, error: AtomStripeError) -> Answer:
        problem = problem_of(error)
        if not isinstance(error, Problem):
            level = logging.ERROR if problem.status >= 500 else logging.INFO
            LOG.log(level, "%s: %s", operation.name, error, extra={"operation": operation.name, "status": problem.status})
        return problem.answer()

    def _measure(self, operation: Operation, answer: Answer, seconds: float) -> None:
        labels = {"operation": operation.name, "status": f"{answer.status // 100}xx"}
        try:
            self.metrics.observe("atom_stripe_http_request_seconds", seconds, labels)
            self.metrics.count("atom_stripe_http_requests_total", 1, labels)
        except Exception:
            LOG.exception("a metric could not be recorded")


def _offered(parts: Parts) -> Iterable[Operation]:
    for operation in OPERATIONS:
        given = operation.part is None or getattr(parts, operation.part) is not None
        if operation.part == "metrics":
            # Others than ours may only be able to take numbers.
            given = isinstance(parts.metrics, Readable)
        # What operators see is there for somebody whom one of the two callables knows.
        if given and (operation.access != "operator" or parts.authorize or parts.authorize_operator):
            yield operation


def _check(parts: Parts, *, asynchronous: bool) -> None:
    guarded = [name for name in ("client", "oauth") if getattr(parts, name) is not None]
    if guarded and parts.authorize is None:
        msg = f"{' and '.join(guarded)} would be open to everybody: give authorize=, which says who calls"
        raise ConfigurationError(msg)
    for name, method in (("client", "request"), ("oauth", "token"), ("inbox", "receive")):
        part = getattr(parts, name)
        if part is not None and iscoroutinefunction(getattr(part, method, None)) is not asynchronous:
            wanted, other = ("an async", "a sync") if asynchronous else ("a sync", "an async")
            msg = f"{name} is {other} one here, and this framework takes {wanted} one"
            raise ConfigurationError(msg)
    if parts.client is not None and parts.oauth is not None:
        # Says so, if the client was made without the manager.
        parts.client.for_user("user")


def _check_id(operation: Operation, identity: str) -> None:
    if not (_ID.fullmatch(identity) and identity.startswith(operation.prefixes)):
        raise Problem(404, "not_found", f"The id of such an object begins with {' or '.join(operation.prefixes)}.")


def _check_type(request: Request) -> None:
    # Also without a body: a page of another site can post anything but this without asking first.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "unsupported_media_type", "Send Content-Type: application/json.")


def _check_key(request: Request) -> None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Problem(400, "invalid_idempotency_key", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
