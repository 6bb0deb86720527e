"""Keeps an engine going: begins anew when its connections are lost, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from atom_stripe.engines.connections import connected
from atom_stripe.engines.sweeper import Sweeper
from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols.engines import EngineHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Future
    from threading import Event

    from atom_stripe.protocols.engines import EngineSettings, LaneQueue
    from atom_stripe.protocols.inbox import InboxStore

T = TypeVar("T")

_LOGGER = logging.getLogger("atom_stripe.engines")
_SHORTEST, _LONGEST = 0.1, 1.0  # seconds before a new beginning
_SOUND = 10.0  # seconds after which a session counts as a good one
_LAST_WORDS = 3.0  # seconds for an engine to write down that its jobs go back
_UNWINDING = 1.0
_LOOK = 0.05


class Shift:
    """
    One session of an engine, with connections of its own.

    *leaving*: take no more jobs. *over*: wait for none that has begun; those that can still be given back go back.
    """

    def __init__(self, lanes: LaneQueue, settings: EngineSettings) -> None:
        self.settings = settings
        self.leaving = asyncio.Event()
        self.over = asyncio.Event()
        self.listening = False
        self._lanes = lanes

    async def drain(self, lane: str) -> bool:
        """Drain *lane* for a job. Returns false if the job should go to another process: this one stops, or its connection is gone."""
        future: asyncio.Future[bool] = asyncio.wrap_future(self._lanes.job(lane))
        over: asyncio.Future[Any] = asyncio.ensure_future(self.over.wait())
        try:
            await asyncio.wait([future, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if future.done():
            return future.result()
        # The thread that drains cannot be stopped; what it says is no longer for this loop.
        future.cancel()
        return False


class Serving(Protocol):
    """What an engine brings to its supervisor. All of it may raise whatever its driver raises."""

    async def serve(self, shift: Shift) -> None:
        """Take jobs until ``shift.leaving``, then wait for those that have begun until ``shift.over``. Raises when a connection is lost."""
        ...

    def nudge(self, lanes: Sequence[str], /) -> int:
        """Have *lanes* looked at soon; returns how many had no alarm yet."""
        ...

    def tend(self) -> None:
        """Keep the engine's own tables small."""
        ...


class Supervisor:
    """One ``run()`` of an engine at a time, and what is known of it afterwards."""

    def __init__(self, serving: Serving) -> None:
        self.restarts = 0
        self.error: str | None = None
        self._serving = serving
        self._lock = threading.Lock()
        self._shift: Shift | None = None
        self._sweeper: Sweeper | None = None
        self._running = False

    @property
    def running(self) -> bool:
        """Whether ``run()`` is."""
        return self._running

    @property
    def listening(self) -> bool:
        """Whether notifications arrive."""
        shift = self._shift
        return shift is not None and shift.listening

    @property
    def recovered(self) -> int:
        """How many lanes the sweeper has woken, in the last run."""
        return 0 if self._sweeper is None else self._sweeper.recovered

    def health(self, info: str, query: str, *parameters: str) -> EngineHealth:
        """Return how the engine is doing. *query* counts its jobs in the database at *info*, for two seconds at most."""
        waiting: int | None = None
        with (
            contextlib.suppress(StoreError),
            connected(info, "count its jobs", connect_timeout="2", options="-c statement_timeout=2000") as connection,
        ):
            row = connection.execute(query.encode(), parameters or None).fetchone()
            waiting = None if row is None else row[0]
        return EngineHealth(
            running=self.running,
            listening=self.listening,
            restarts=self.restarts,
            error=self.error,
            waiting=waiting,
            recovered=self.recovered,
        )

    def run(self, lanes: LaneQueue, stop: Event, store: InboxStore, settings: EngineSettings) -> None:
        """Run the engine until *stop* is set."""
        with self._lock:
            if self._running:
                msg = "this engine is running in this process already"
                raise ConfigurationError(msg)
            self._running = True
        try:
            self._run(lanes, stop, store, settings)
        finally:
            self._running = False

    def _run(self, lanes: LaneQueue, stop: Event, store: InboxStore, settings: EngineSettings) -> None:
        self._sweeper = Sweeper(store, lanes, settings.sweep_interval, nudge=self._serving.nudge, tend=self._serving.tend)
        ended = threading.Event()
        sweeping = threading.Thread(target=self._sweeper.run, args=(ended,), name="atom-stripe-sweeper", daemon=True)
        sweeping.start()
        try:
            asyncio.run(self._supervise(lanes, stop, settings))
        finally:
            ended.set()
            sweeping.join(_LAST_WORDS)

    async def _supervise(self, lanes: LaneQueue, stop: Event, settings: EngineSettings) -> None:
        stopping = asyncio.create_task(_until(stop.is_set))
        failures = 0
        while not stop.is_set():
            began = time.monotonic()
            await self._session(Shift(lanes, settings), stopping)
            if stop.is_set():
                return
            failures = 1 if time.monotonic() - began > _SOUND else failures + 1
            self.restarts += 1
            pause = min(_SHORTEST * 2.0 ** min(failures, 10), _LONGEST) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
            await asyncio.wait({stopping}, timeout=pause)

    async def _session(self, shift: Shift, stopping: asyncio.Task[None]) -> None:
        """Let the engine serve, until it fails or until all is to stop."""
        self._shift = shift
        serving = asyncio.create_task(self._serving.serve(shift))
        serving.add_done_callback(heard)
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                shift.leaving.set()
                await asyncio.wait({serving}, timeout=shift.settings.grace)
                shift.over.set()
                await asyncio.wait({serving}, timeout=_LAST_WORDS)
        finally:
            shift.listening = False
            shift.over.set()
        if serving.done():
            self._note(serving.exception(), expected=stopping.done())
        else:
            serving.cancel()
            await asyncio.wait({serving}, timeout=_LAST_WORDS)

    def _note(self, error: BaseException | None, *, expected: bool) -> None:
        if error is not None:
            # A driver's words can hold values.
            self.error = type(error).__name__
            _LOGGER.warning("the engine lost its connection, or failed (%s); it begins anew", self.error)
        elif not expected:
            self.error = "Ended"
            _LOGGER.warning("the engine ended by itself; it begins anew")


async def _until(ready: Callable[[], bool]) -> None:
    """Wait for *ready*."""
    while not ready():  # noqa: ASYNC110 - it is set by threads
        await asyncio.sleep(_LOOK)


async def first(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of *coroutines* ends, cancel the others, and raise what it raised."""
    tasks = {asyncio.ensure_future(coroutine) for coroutine in coroutines}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.add_done_callback(heard)
            task.cancel()
    # What waits for a server that is away is not waited for.
    await asyncio.wait(tasks, timeout=_UNWINDING)
    for task in done:
        task.result()


def heard(task: asyncio.Future[Any]) -> None:
    """Take note of what *task* raised. What nobody waits for any more is not told of when its memory is freed, in the middle of something else."""
    if not task.cancelled():
        task.exception()


def in_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what the coroutine of *make* returns, run in an event loop of its own, whether or not this thread has one."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        future: Future[T] = pool.submit(lambda: asyncio.run(make()))
        return future.result()
