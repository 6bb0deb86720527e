"""The world of an ``OAuthManager``: Stripe, a store, keys, clocks, randomness, and a way to let work go on in the background."""

from __future__ import annotations

import inspect
import os
import secrets
import threading
import time as clocks
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from atom_stripe._engine.drive import run
from atom_stripe._engine.http import in_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from atom_stripe._engine.calls import CallFlow
    from atom_stripe._engine.ports import Sleep
    from atom_stripe.connections import Connection
    from atom_stripe.metrics import Metrics
    from atom_stripe.oauth_config import OAuthConfig
    from atom_stripe.protocols import (
        AsyncKeyProvider,
        AsyncTokenStore,
        Authorization,
        DataKey,
        KeyProvider,
        Reference,
        TokenQuery,
        TokenRecord,
        TokenStore,
    )

    Hook = Callable[[Connection], Any]


class Spawn(Protocol):
    """Lets a flow go on beside the caller, whatever becomes of the caller. *ended* is called when it has ended, or never began."""

    def __call__(self, flow: Coroutine[Any, Any, None], ended: Callable[[], None], /) -> None: ...


@dataclass(frozen=True, slots=True)
class BlockingTokens:
    """A sync store: async in shape only."""

    store: TokenStore

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*."""
        return self.store.load(reference)

    async def save(self, record: TokenRecord, /) -> bool:
        """Write *record*, if its version is still the stored one."""
        return self.store.save(record)

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for."""
        return self.store.find(query)

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*."""
        return self.store.load_authorization(digest)

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization*, if its version is still the stored one."""
        return self.store.save_authorization(authorization)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys from a provider of either colour. Configured keys answer at once in both."""

    provider: KeyProvider | AsyncKeyProvider

    async def current(self) -> DataKey:
        """Return the key to encrypt with."""
        key = self.provider.current()
        return await key if inspect.isawaitable(key) else key

    async def get(self, key_id: str, wrapped: bytes) -> DataKey:
        """Return the key that something was encrypted with."""
        key = self.provider.get(key_id, wrapped)
        return await key if inspect.isawaitable(key) else key


def new_id() -> str:
    """Return an id that nothing else has."""
    return uuid.uuid4().hex


def new_state() -> str:
    """Return a ``state`` that cannot be guessed: 256 bits, for URLs."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class ConnectPorts:
    """
    Everything that the flows reach.

    *time*: seconds since 1970, for what ends at a moment. *clock*: only goes forward, for how long something takes. *hook*: told of a
    connection whose user has to authorize again. *blocking*: whether these are the ports of the sync colour. *metrics*: told of renewals.
    """

    calls: CallFlow
    tokens: AsyncTokenStore
    keys: Keys
    config: OAuthConfig
    sleep: Sleep
    spawn: Spawn
    blocking: bool
    hook: Hook | None = None
    metrics: Metrics | None = None
    time: Callable[[], float] = clocks.time
    clock: Callable[[], float] = clocks.monotonic
    random: Callable[[int], bytes] = os.urandom
    new_id: Callable[[], str] = new_id
    new_state: Callable[[], str] = new_state
    # Two processes should not think of the same moment to renew a token.
    salt: int = field(default_factory=lambda: secrets.randbits(32), repr=False)

    def now(self, record: TokenRecord) -> float:
        """Return the time by the clock of the store that *record* was read from: what leases are compared with, on every machine alike."""
        return self.time() if record.read_at is None else record.read_at


def thread_spawn(flow: Coroutine[Any, Any, None], ended: Callable[[], None], /) -> None:
    """Run *flow* behind blocking ports in a thread of its own: neither a signal nor an error of the caller stops it."""

    def work() -> None:
        try:
            run(flow)
        finally:
            ended()

    threading.Thread(target=work, name="atom-stripe-connect", daemon=True).start()


class NativeSpawn:
    """Runs flows as tasks of the running event loop, asyncio's or trio's."""

    def __init__(self) -> None:
        # asyncio itself holds tasks only weakly.
        self._tasks: set[Any] = set()

    def __call__(self, flow: Coroutine[Any, Any, None], ended: Callable[[], None], /) -> None:
        if in_trio():
            import trio

            async def work() -> None:
                try:
                    await flow
                finally:
                    ended()

            trio.lowlevel.spawn_system_task(work, name="atom-stripe-connect")
            return
        import asyncio

        def forget(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            ended()

        task = asyncio.get_running_loop().create_task(flow, name="atom-stripe-connect")
        self._tasks.add(task)
        task.add_done_callback(forget)
