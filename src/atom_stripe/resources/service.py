"""
The base of the generated services.

A service holds nothing but the calls of its client. The three kinds of answer are the three methods of *Calls*: one object, one
page of a list, or the bytes of a document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._wire.operation import Operation


class Calls(Protocol):
    """What a service asks of a sync client."""

    def object(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Any: ...

    def page(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Any: ...

    def content(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> bytes: ...


class AsyncCalls(Protocol):
    """What a service asks of an async client."""

    async def object(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Any: ...

    def page(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Any: ...

    async def content(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> bytes: ...


class Service:
    """Operations of one part of Stripe's API, for a sync client."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls


class AsyncService:
    """Operations of one part of Stripe's API, for an async client."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
