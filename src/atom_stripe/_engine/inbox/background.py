"""A worker beside the program that started it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import anyio

if TYPE_CHECKING:
    from atom_stripe._engine.inbox.core import InboxCore


class BackgroundWorker:
    """A worker that runs while the block of ``with`` (``async with``) does, and is stopped at its end as ``stop()`` stops it."""

    def __init__(self, core: InboxCore) -> None:
        self._core = core
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._error = None

        def work() -> None:
            try:
                self._core.run(ready.set)
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits for it
                self._error = error
            finally:
                ready.set()

        self._thread = threading.Thread(target=work, name="atom-stripe-inbox", daemon=True)
        self._thread.start()
        ready.wait()
        self._raise()
        return self

    def __exit__(self, *_error: object) -> None:
        self._core.stop()
        if self._thread is not None:
            self._thread.join()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class AsyncBackgroundWorker:
    """A worker that runs while the block of ``with`` (``async with``) does, and is stopped at its end as ``stop()`` stops it."""

    def __init__(self, core: InboxCore) -> None:
        self._core = core
        self._group: Any = None
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        ready, self._ended = anyio.Event(), anyio.Event()
        self._error = None

        async def work() -> None:
            try:
                await self._core.run_async(ready.set)
            except Exception as error:  # noqa: BLE001 - raised by whoever waits for it, without a group around it
                self._error = error
            finally:
                ready.set()
                self._ended.set()

        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(work)
        await ready.wait()
        if self._error is not None:
            await self._group.__aexit__(None, None, None)
            raise self._error
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._core.stop()
        # Not told of the block's own error, which would come out of it in a group.
        await self._group.__aexit__(None, None, None)
