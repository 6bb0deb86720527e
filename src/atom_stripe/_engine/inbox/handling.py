"""
One claimed event, on its way through its handlers.

1. An attempt is counted, durably, before it is made. For the first handler of a fresh event, the count of its claims does it: an event
   that was claimed before, and of which nothing was written since, killed its worker.
2. What became of a handler is written under the claim; whoever lost it writes nothing, and what the handler did in its transaction is undone.
3. The last step is left to the caller: it can be written together with those of other events.
"""

from __future__ import annotations

import inspect
import logging
import random
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.inbox.context import AsyncHandlerContext, HandlerContext, Run, refetched
from atom_stripe._engine.inbox.loop import Mailbox, ReleasedError
from atom_stripe._engine.inbox.pauses import RECHECK
from atom_stripe._engine.inbox.reading import error_text, in_our_version, stored_event
from atom_stripe._engine.inbox.values import UNPARSABLE, Park, Retry
from atom_stripe._wire.lanes import ASIDE, aside, home
from atom_stripe.config import API_VERSION
from atom_stripe.errors import ClaimLostError, StoreError
from atom_stripe.models.event import Event
from atom_stripe.protocols import HandlerState, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe._engine.inbox.flights import Claimed
    from atom_stripe._engine.inbox.loop import Bridge
    from atom_stripe._engine.inbox.pace import Pace
    from atom_stripe._engine.inbox.pauses import Pauses
    from atom_stripe._engine.inbox.registry import Handler, Registry
    from atom_stripe._engine.inbox.store_time import StoreTime
    from atom_stripe._engine.inbox.tally import Tally
    from atom_stripe.inbox_config import InboxConfig
    from atom_stripe.models.event import EventNotification
    from atom_stripe.protocols import EventStatus, InboxRecord, InboxStore, Nothing

_LOGGER = logging.getLogger("atom_stripe.inbox")
_DIED = "WorkerDied: the process ended while this handler ran"
_UNREADABLE = "MalformedEventError: the stored bytes are not an event"
_PURGED = "MalformedEventError: the payload was purged"
# What stands for the inbox itself among the handlers of an event.
_SELF = "inbox"
_PENDING = HandlerState()

WRITES = (0.05, 0.25, 1.0)
"""Seconds between the attempts to write while the store is away for a moment: what handlers did should not be done once more for it."""


class AbandonedError(Exception):
    """The handler ended after its claim was let go. Somebody else is at work on the lane."""


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """
    What every event is handled with. *pace*: told how long handlers take. *offer*: told of lanes that events were moved to. *bridge*: the
    event loop in which async handlers run.
    """

    store: InboxStore
    registry: Registry
    config: InboxConfig
    time: StoreTime
    tally: Tally
    pauses: Pauses
    pace: Pace
    client: Any
    offer: Callable[[str, float | None], None]
    bridge: Bridge | None = None


class Handling:
    """One claimed event, on its way through its handlers."""

    def __init__(self, around: Surroundings, claimed: Claimed, let_go: Callable[[], None]) -> None:
        """*let_go*: told when a handler does not end and the lane goes on without it."""
        self._around = around
        self._store, self._config, self._time, self._tally = around.store, around.config, around.time, around.tally
        self._record, self._flight = claimed
        self._let_go = let_go
        self._states = dict(self._record.handlers)
        self._handlers: Sequence[Handler] = ()
        self._now = max(self._time.now(), self._record.due_at or 0.0)
        self._began = 0.0

    def carry_out(self) -> Step | None:
        """Run every handler that is due. Returns the last step, which is to be written; ``None`` if it was, with the handler's transaction."""
        record = self._record
        if self._config.livemode is not None and record.livemode != self._config.livemode:
            return self._step("discarded")
        event = stored_event(record.payload)
        if event is None or record.type == UNPARSABLE:
            self._states[_SELF] = HandlerState(
                status="parked",
                attempts=record.attempts,
                error=_PURGED if record.payload is None else _UNREADABLE,
                finished_at=self._now,
            )
            return self._step("parked")
        self._handlers = self._around.registry.handlers(record.type, self._states)
        if ASIDE in record.lane and any(handler.ordering == "object" for handler in self._open()):
            # What needs order does not run aside: it goes back to where the others of its object are.
            return replace(self._step("pending"), lane=home(record.lane), due_at=self._due())
        return self._run_all(event)

    def _state(self, handler: Handler) -> HandlerState:
        return self._states.get(handler.name, _PENDING)

    def _open(self) -> list[Handler]:
        """Return the handlers that are pending and not paused."""
        paused = self._around.pauses.names
        return [handler for handler in self._handlers if self._state(handler).status == "pending" and handler.name not in paused]

    def _run_all(self, event: Event | EventNotification) -> Step | None:
        record = self._record
        plan = deque(handler for handler in self._open() if (self._state(handler).due_at or 0.0) <= self._now)
        uncounted = 0 if record.handlers else record.attempts - 1
        current = self._begin(plan, uncounted)
        # The claim has counted the first attempt of a fresh event.
        if current is not None and (record.attempts > 1 or record.handlers):
            self.write(self._step("pending", keep=True))
        while current is not None:
            run = Run(self._store, self._around.client, record, current, self._state(current).attempts)
            error = self._call(run, event)
            self._around.pace.note(time.monotonic() - self._began)
            if not self._flight.end():
                run.transaction.undo()
                self._tally.count("abandoned")
                raise AbandonedError
            attempted = self._state(current)
            outcome = self._note(current, attempted, error)
            following = self._begin(plan, 0)
            if error is None and run.transaction.opened:
                step = self._closing(following)
                try:
                    run.transaction.commit(step)
                except StoreError as failure:
                    # Nothing was written. A connection that the handler broke looks like this, so it is the handler's failure.
                    outcome = self._note(current, attempted, failure)
                else:
                    self._tell(outcome)
                    self.moved(step)
                    if following is None:
                        return None
                    current = following
                    continue
            run.transaction.undo()
            self._tell(outcome)
            if following is None:
                break
            self.write(self._closing(following))
            current = following
        return self._closing(None)

    def _begin(self, plan: deque[Handler], uncounted: int) -> Handler | None:
        """Take the next handler and count its attempt. One that has none left is parked: it never ended, and did not say why."""
        while plan:
            handler = plan.popleft()
            state = self._state(handler)
            attempts, uncounted = state.attempts + uncounted, 0
            if attempts < handler.retry.attempts:
                self._states[handler.name] = HandlerState(attempts=attempts + 1, due_at=state.due_at, error=state.error)
                return handler
            self._tally.count("parked")
            _LOGGER.error("%s is parked: handler %s ended its process", self._record.type, handler.name)
            self._states[handler.name] = HandlerState(
                status="parked", attempts=attempts, error=state.error or _DIED, finished_at=self._now
            )
        return None

    def _call(self, run: Run, event: Event | EventNotification) -> BaseException | None:
        """Run a handler, and return what it raised."""
        handler = run.handler
        bound = None if handler.timeout is None else handler.timeout + self._config.overrun
        self._flight.begin(bound, lambda: self._abandon(handler))
        self._began = began = time.monotonic()
        try:
            event = self._fitting(run, event)
            if handler.asynchronous:
                self._await(run, event)
            else:
                result = handler.function(event, HandlerContext(run, event, self._around.bridge))
                if inspect.iscoroutine(result):
                    result.close()
                    msg = f"handler {handler.name} returned a coroutine: make it an async function"
                    return TypeError(msg)
        except ReleasedError:
            run.transaction.undo()
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit, MemoryError, …: the worker lives, and the event is tried again
            return error
        if handler.timeout is not None and time.monotonic() - began > handler.timeout:
            self._tally.count("timeouts")
            _LOGGER.warning("handler %s took longer than its timeout of %g s", handler.name, handler.timeout)
        return None

    def _await(self, run: Run, event: Event | EventNotification) -> None:
        if self._around.bridge is None:
            raise ReleasedError
        mailbox = Mailbox()
        context = AsyncHandlerContext(run, event, mailbox)
        future = self._around.bridge.start(lambda: run.handler.function(event, context), run.handler.timeout)
        future.add_done_callback(mailbox.end)
        mailbox.serve()
        future.result()

    def _fitting(self, run: Run, event: Event | EventNotification) -> Event | EventNotification:
        """Return *event* in the shape that the handler wants."""
        if run.handler.versions == "accept" or in_our_version(event):
            return event
        if run.handler.versions == "refetch":
            return refetched(run, event, self._around.bridge)
        msg = f"written in API version {event.api_version if isinstance(event, Event) else None}, and this is {API_VERSION}"
        raise Park(msg)

    def _abandon(self, handler: Handler) -> None:
        """Note that *handler* does not end, and let the lane go on without it."""
        self._tally.count("timeouts")
        _LOGGER.error("handler %s does not end; its event goes on without it", handler.name)
        error = TimeoutError(f"the handler ran longer than {handler.timeout:g} s and did not end")
        self._tell(self._note(handler, self._state(handler), error))
        try:
            self.write(self._closing(None))
        except (ClaimLostError, StoreError) as error:
            _LOGGER.warning("the end of handler %s could not be written: %s", handler.name, error)
        finally:
            self._let_go()

    def _note(self, handler: Handler, state: HandlerState, error: BaseException | None) -> str:
        """Note what became of *handler*, which began in *state*, and return what that is called."""
        if error is None:
            outcome = "handled"
            new = HandlerState(status="done", attempts=state.attempts, finished_at=self._time.now())
        elif isinstance(error, Park) or state.attempts >= handler.retry.attempts:
            outcome = "parked"
            _LOGGER.error("handler %s gave up on a %s: %s", handler.name, self._record.type, type(error).__name__)
            new = replace(state, status="parked", due_at=None, error=error_text(error), finished_at=self._time.now())
        else:
            outcome = "failed"
            _LOGGER.warning("handler %s failed with a %s: %s", handler.name, self._record.type, type(error).__name__)
            after = error.after if isinstance(error, Retry) else None
            delay = handler.retry.delay(state.attempts, random.random()) if after is None else after  # noqa: S311 - spreads load
            new = replace(state, due_at=self._time.now() + delay, error=error_text(error))
        self._states[handler.name] = new
        return outcome

    def _tell(self, outcome: str) -> None:
        """Count an attempt with *outcome*, once that is what became of it."""
        self._tally.count(outcome)
        lag = self._time.now() - self._record.received_at
        self._tally.signals.attempted(self._record.type, outcome, time.monotonic() - self._began, lag)

    def _closing(self, following: Handler | None) -> Step:
        """Return the step after a handler: go on with *following*, or let the event go."""
        if following is not None:
            return self._step("pending", keep=True)
        pending = [handler for handler in self._handlers if self._state(handler).status == "pending"]
        if not pending:
            parked = any(state.status == "parked" for state in self._states.values())
            return self._step("parked" if parked else "done")
        for handler in pending:
            self._states.setdefault(handler.name, _PENDING)
        lane = self._record.lane
        if not any(handler.ordering == "object" for handler in self._open()):
            lane = aside(lane, self._record.id)
        return replace(self._step("pending"), due_at=self._due(), lane=None if lane == self._record.lane else lane)

    def _due(self) -> float | None:
        """Return when the event is due: with its earliest handler, or when a pause is to be looked at again."""
        times = [self._state(handler).due_at or 0.0 for handler in self._open()]
        return min(times, default=self._time.now() + RECHECK * (0.5 + random.random())) or None  # noqa: S311 - spreads load

    def _step(self, status: EventStatus, *, keep: bool = False) -> Step:
        return Step(id=self._record.id, run=self._flight.run, handlers=dict(self._states), status=status, keep=keep)

    def write(self, step: Step, claim_next: Callable[[], float | None] | None = None) -> InboxRecord | Nothing | None:
        """Write *step*, and claim the next event for as many seconds as *claim_next* says, which is asked each time."""
        for pause in WRITES:
            try:
                return self._write(step, claim_next)
            except StoreError as error:
                if not error.retryable:
                    raise
                time.sleep(pause)
        return self._write(step, claim_next)

    def _write(self, step: Step, claim_next: Callable[[], float | None] | None) -> InboxRecord | Nothing | None:
        found = self._store.advance(step, None if claim_next is None else claim_next())
        self.moved(step)
        return found

    def moved(self, step: Step) -> None:
        """Have the lane looked at that *step*, which is written, has moved the event to."""
        if step.lane is not None:
            self._around.offer(step.lane, step.due_at)
