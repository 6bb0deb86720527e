"""Run a flow without an event loop, behind ports that never suspend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterator

T = TypeVar("T")

_MIXED = "an async object was passed to a sync atom_stripe class; use its Async twin"


def run(flow: Coroutine[Any, Any, T]) -> T:
    """Finish *flow* in one step and return what it returns."""
    try:
        flow.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    flow.close()
    raise TypeError(_MIXED)


def iterate(flow: AsyncGenerator[T, None]) -> Iterator[T]:
    """Go over what *flow* yields; close it when the loop is left early."""
    try:
        while True:
            try:
                yield run(flow.__anext__())
            except StopAsyncIteration:
                return
    finally:
        run(flow.aclose())
