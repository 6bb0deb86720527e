"""Between our threads and an event loop, asyncio's or trio's."""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from atom_stripe._engine.http import current_loop, in_trio
from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream

    Post = Callable[[Callable[[], object]], None]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_Work = tuple[Callable[[], Coroutine[Any, Any, None]], Future[Any]]


class ReleasedError(Exception):
    """A handler was interrupted because its worker stops: it neither succeeded nor failed."""


def poster() -> Post:
    """Return what has the running event loop call a function soon, from any thread. It raises ``RuntimeError`` when the loop has ended."""
    loop: Any = current_loop()
    post: Post = loop.run_sync_soon if in_trio() else loop.call_soon_threadsafe
    return post


class Ending(Protocol[T_co]):
    """What ends at some time: a ``Future``, and what is like one."""

    def done(self) -> bool: ...
    def add_done_callback(self, call: Callable[[Any], object], /) -> None: ...
    def result(self, timeout: float | None = None) -> T_co: ...


async def outcome(future: Ending[T], timeout: float | None = None) -> T:
    """Return the result of *future* without blocking the event loop."""
    if not future.done():
        post, done = poster(), anyio.Event()

        def wake(_future: object) -> None:
            with suppress(RuntimeError):
                post(done.set)

        future.add_done_callback(wake)
        with anyio.move_on_after(timeout):
            await done.wait()
    return future.result(0)


class Mailbox:
    """
    What a thread does while an async handler runs for it: the parts of the handler that belong to this thread, such as its database transaction.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended = False

    def serve(self) -> None:
        """Do what is sent, until ``end``."""
        while (job := self._jobs.get()) is not None:
            job()

    def end(self, _future: object = None) -> None:
        """Let ``serve`` return."""
        self._ended = True
        self._jobs.put(None)

    async def call(self, function: Callable[[], T]) -> T:
        """Run *function* in the thread, and return what it returns."""
        if self._ended:
            msg = "the handler has ended, and its transaction with it: use context.connection while the handler runs"
            raise StoreError(msg, retryable=False)
        future: Future[T] = Future()

        def job() -> None:
            # BaseException: whatever it is belongs to the handler that asked.
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)

        self._jobs.put(job)
        return await outcome(future)


class Bridge:
    """Runs async functions for our threads in the event loop of ``run_worker()``."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._post = poster()
        self._cancelled_class = anyio.get_cancelled_exc_class()
        # Tasks are started by a task: in a callback of asyncio's there is none that they could belong to.
        self._starts, starts = anyio.create_memory_object_stream[_Work](float("inf"))
        group.start_soon(self._serve, starts)

    async def _serve(self, starts: MemoryObjectReceiveStream[_Work]) -> None:
        try:
            async for work, _future in starts:
                self._group.start_soon(work)
        finally:
            # What was sent and not begun, when the group is cancelled.
            with self._starts, starts, suppress(anyio.WouldBlock, anyio.EndOfStream):
                while True:
                    starts.receive_nowait()[1].set_exception(ReleasedError())

    def start(self, function: Callable[[], Awaitable[T]], timeout: float | None) -> Future[T]:
        """
        Begin *function* in the event loop, and return its future.

        It fails with ``TimeoutError`` after *timeout* seconds, when the function was cancelled, and with ``ReleasedError`` if the loop ends first.
        """
        future: Future[T] = Future()

        async def work() -> None:
            scope = anyio.CancelScope()
            try:
                with anyio.fail_after(timeout) as scope:
                    result = await function()
            except self._cancelled_class as error:
                # The worker is being cancelled; or the handler raised this itself, which is its failure and nobody else's.
                if anyio.current_effective_deadline() == float("-inf"):
                    future.set_exception(ReleasedError())
                    raise
                future.set_exception(error)
            except BaseException as error:  # noqa: BLE001 - a handler may raise anything; the loop goes on
                future.set_exception(_timed_out(timeout) if scope.cancelled_caught else error)
            else:
                future.set_result(result)

        def begin() -> None:
            try:
                self._starts.send_nowait((work, future))
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                future.set_exception(ReleasedError())

        try:
            self._post(begin)
        except RuntimeError:
            future.set_exception(ReleasedError())
        return future

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the event loop, and wait for it."""
        return self.start(function, None).result()


def _timed_out(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"the handler ran longer than {timeout:g} s and was cancelled")
