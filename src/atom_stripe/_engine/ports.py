"""What a flow needs from the world. The sync ports block and the async ones wait; the flows cannot tell."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._wire.messages import Reply, Request


class Transport(Protocol):
    """Sends one request and reads its answer whole. Raises nothing but ``TransportError`` and ``ClientClosedError``."""

    async def send(self, request: Request, timeout: float) -> Reply:
        """Send *request*; give up after *timeout* seconds."""
        ...

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        ...


class Sleep(Protocol):
    """Waits."""

    async def __call__(self, seconds: float, /) -> None: ...


def _new_key() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Ports:
    """The world of one client. *clock* only goes forward, in seconds; *jitter* is between 0 and 1."""

    transport: Transport
    sleep: Sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = SystemRandom().random
    new_key: Callable[[], str] = _new_key


async def blocking_sleep(seconds: float, /) -> None:
    """Block the thread: async in shape only."""
    time.sleep(seconds)  # noqa: ASYNC251 - this port is for sync clients


async def native_sleep(seconds: float, /) -> None:
    """Let other tasks run meanwhile, on asyncio and on trio."""
    import anyio

    await anyio.sleep(seconds)
