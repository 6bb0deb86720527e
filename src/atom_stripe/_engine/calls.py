"""The flow of one call: build the request, take a place in line, send, and send again where that is safe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.files import read_files
from atom_stripe._wire import requests
from atom_stripe._wire.decoding import decode, error_of, unreadable
from atom_stripe._wire.paths import fill
from atom_stripe._wire.retry import delay
from atom_stripe.errors import APIError, QueueFullError, RateLimitedError, TimeoutExceededError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._engine.limiter import Limiter
    from atom_stripe._engine.ports import Ports
    from atom_stripe._engine.settings import CallSettings, Settings
    from atom_stripe._wire.messages import Reply, Request
    from atom_stripe._wire.operation import Operation
    from atom_stripe.models.base import StripeModel

_LOG = logging.getLogger("atom_stripe.client")
_SUCCESS = range(200, 300)
_VERSION_2 = 2

# Which of the two lines Stripe means; a limit on one object says nothing about either.
_REASONS = {"global-rate": 0, "global-concurrency": 0, "endpoint-rate": 1, "endpoint-concurrency": 1}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what is sent, unchanged, at every attempt."""

    operation: Operation
    request: Request
    settings: CallSettings
    deadline: float


@dataclass(frozen=True, slots=True)
class CallFlow:
    """Carries out calls. One for each client."""

    settings: Settings
    ports: Ports
    limiter: Limiter | None

    async def object(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> StripeModel:
        """Call *operation* and return the object that Stripe answers with."""
        return decode(await self.send(operation, fill(operation.path, arguments), params), reads=operation.reads)

    async def content(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> bytes:
        """Call *operation* and return the document that Stripe answers with."""
        reply = await self.send(operation, fill(operation.path, arguments), params)
        if reply.headers.get("content-type", "").startswith("text/html"):
            raise unreadable(reply, reads=True)
        return reply.body

    async def send(self, operation: Operation, path: str, params: Mapping[str, Any]) -> Reply:
        """
        Send one call, as often as its policy allows, and return the successful answer. *path*: the operation's, filled in.

        Raises:
            APIError: Stripe answered with an error.
            TransportError: No answer came.
            QueueFullError: The line of the rate limit is too long.
            EncodingError: The call cannot be sent as it is.
        """
        call = self._prepare(operation, path, params)
        try:
            return await self._attempt(call)
        except (APIError, TransportError) as error:
            error.idempotency_key = call.request.headers.get("Idempotency-Key")
            if not error.retryable or call.settings.policy.attempts == 1:
                raise
            failed = error
        return await self._again(call, failed)

    def _prepare(self, operation: Operation, path: str, params: Mapping[str, Any]) -> Call:
        settings, params = self.settings.for_call(params)
        if operation.multipart:
            params = read_files(params)
        key = settings.idempotency_key
        if key is None and (operation.method == "POST" or (operation.method == "DELETE" and operation.version == _VERSION_2)):
            # Made once: every attempt carries the same key, so Stripe does the work once.
            key = self.ports.new_key()
        request = requests.build(
            operation,
            path,
            params,
            base=self.settings.base(operation.host),
            headers=settings.headers,
            idempotency_key=key,
            boundary=self.ports.new_key() if operation.multipart else "",
        )
        return Call(operation, request, settings, self.ports.clock() + settings.policy.deadline)

    async def _attempt(self, call: Call) -> Reply:
        """Send *call* once."""
        lines = self.settings.lines(call.settings, call.operation) if self.limiter else ()
        if self.limiter:
            now = self.ports.clock()
            wait = self.limiter.reserve(lines, now, min(self.settings.config.rate_limits.max_wait, call.deadline - now))
            if wait > 0:
                await self.ports.sleep(wait)
        started = self.ports.clock()
        if started >= call.deadline:
            msg = "the deadline of the call passed before it was sent"
            raise TimeoutExceededError(msg, retryable=False)
        try:
            reply = await self.ports.transport.send(call.request, min(call.settings.timeout, call.deadline - started))
        except TransportError as error:
            # A read that got lost changed nothing; sending it again is always safe.
            error.outcome_unknown = error.outcome_unknown and not call.operation.reads
            self._log(call, type(error).__name__, started)
            raise
        self._log(call, reply.status, started, reply.headers.get("request-id"))
        if reply.status in _SUCCESS:
            return reply
        refusal = error_of(reply, reads=call.operation.reads)
        if self.limiter and isinstance(refusal, RateLimitedError) and refusal.reason in _REASONS:
            self.limiter.slow_down(lines[_REASONS[refusal.reason]][0], self.ports.clock())
        raise refusal

    async def _again(self, call: Call, failed: APIError | TransportError) -> Reply:
        """Go on with *call* after its first attempt failed. tenacity is loaded only here: most calls never need it."""
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

        policy = call.settings.policy

        def wait(state: RetryCallState) -> float:
            return delay(state.attempt_number, initial=policy.initial_delay, longest=policy.max_delay, jitter=self.ports.jitter())

        def stop(state: RetryCallState) -> bool:
            return state.attempt_number >= policy.attempts or self.ports.clock() + state.upcoming_sleep >= call.deadline

        attempts = 1
        last = failed

        async def attempt() -> Reply:
            nonlocal attempts, last
            if attempts == 1:
                attempts = 2
                # The first attempt is over; tenacity judges its outcome like any other.
                raise failed
            try:
                return await self._attempt(call)
            except QueueFullError:
                # "Nothing was sent" would be wrong by now.
                last.retryable = False
                raise last from None
            except (APIError, TransportError) as error:
                error.attempts = attempts
                error.idempotency_key = failed.idempotency_key
                # What an earlier attempt may have done stays done, unless this answer is Stripe's last word on the key.
                final = isinstance(error, APIError) and not error.retryable
                error.outcome_unknown = error.outcome_unknown or (last.outcome_unknown and not final)
                last = error
                attempts += 1
                raise

        retrying = AsyncRetrying(sleep=self.ports.sleep, wait=wait, stop=stop, retry=retry_if_exception(_may_retry), reraise=True)
        return await retrying(attempt)

    def _log(self, call: Call, outcome: int | str, started: float, request_id: str | None = None) -> None:
        if not _LOG.isEnabledFor(logging.DEBUG):
            return
        # The path's template and not the path: ids stay out of the message, and log lines group by operation.
        _LOG.debug(
            "stripe request: %s %s -> %s",
            call.operation.method,
            call.operation.path,
            outcome,
            extra={
                "stripe_method": call.operation.method,
                "stripe_path": call.operation.path,
                "stripe_outcome": outcome,
                "stripe_request_id": request_id,
                "stripe_seconds": self.ports.clock() - started,
            },
        )


def _may_retry(error: BaseException) -> bool:
    return isinstance(error, (APIError, TransportError)) and error.retryable
