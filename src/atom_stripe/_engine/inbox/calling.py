"""How a flow calls the store, which is a sync one for both colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Calling(Protocol):
    """Calls a function that waits for the store."""

    async def __call__(self, function: Callable[..., T], /, *args: Any) -> T: ...


async def blocking_call(function: Callable[..., T], /, *args: Any) -> T:
    """Call *function*: async in shape only."""
    return function(*args)


async def native_call(function: Callable[..., T], /, *args: Any) -> T:
    """Call *function* in a thread."""
    return await anyio.to_thread.run_sync(function, *args)
