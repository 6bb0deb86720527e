"""Data keys: what ``EnvelopeKeys`` and its async twin do, written once."""

from __future__ import annotations

import hmac
import math
import os
import secrets
import time
from copy import copy
from dataclasses import dataclass, field
from inspect import isawaitable
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from atom_stripe.errors import AtomStripeError, ConfigurationError, StoreError, UnknownKeyError
from atom_stripe.keys.keyring import FERNET, KEY_BYTES, KEY_ID, lookup_key, parse_keys, unknown_key
from atom_stripe.protocols import DataKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from pydantic import SecretStr

    from atom_stripe.keys.envelopes import AsyncKeyWrapper, KeyWrapper
    from atom_stripe.protocols import AsyncKeyProvider, KeyProvider

T = TypeVar("T")

_MOST_USES = 2**30
_LONGEST_WRAPPED = 4096
# Seconds for which the memory holds a key that a service unwrapped, and how many of them.
_KEPT_FOR = 300.0
_MOST_KEPT = 1024
# Seconds between two looks at whether somebody else has the key by now: a key service takes longer.
_PAUSE = 0.002


@dataclass(slots=True, eq=False)
class _Current:
    key: DataKey
    until: float
    # From 1: whoever has it made is the first to use it.
    used: Iterator[int] = field(default_factory=lambda: count(1))


class DataKeys:
    """The data keys at hand, and until when each may be used. Times are seconds on a clock that only goes forward."""

    def __init__(self, lifetime: float, uses: int) -> None:
        if isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)) or not 0 < lifetime < math.inf:
            msg = "lifetime is a number of seconds above 0"
            raise ConfigurationError(msg)
        if isinstance(uses, bool) or not isinstance(uses, int) or not 0 < uses <= _MOST_USES:
            # Random nonces must not meet: 2**32 of them are the most for one key, and a use encrypts two tokens.
            msg = f"uses is a whole number from 1 to {_MOST_USES}"
            raise ConfigurationError(msg)
        self._lifetime = lifetime
        self._uses = uses
        self._current: _Current | None = None
        self._known: dict[tuple[str, bytes], tuple[DataKey, float]] = {}

    def current(self, key_id: str, now: float) -> DataKey | None:
        """Return the key to encrypt with, ``None`` if it is time for a new one."""
        current = self._current
        if current is None or current.key.id != key_id or now >= current.until or next(current.used) >= self._uses:
            return None
        return current.key

    def use(self, key: DataKey, now: float) -> None:
        """Encrypt with *key* from *now* on."""
        self._current = _Current(key, now + self._lifetime)
        self.keep(key, now)

    def get(self, key_id: str, wrapped: bytes, now: float) -> DataKey | None:
        """Return the key that *wrapped* holds, ``None`` if the service must be asked."""
        key, until = self._known.get((key_id, wrapped), (None, 0.0))
        return key if now < until else None

    def keep(self, key: DataKey, now: float) -> None:
        """Keep *key* for a while, and let go of those whose time is up."""
        self._known[key.id, key.wrapped] = (key, now + _KEPT_FOR)
        # A copy, made in one step: other threads add and remove meanwhile.
        known = list(self._known.items())
        gone = [name for name, (_, until) in known if now >= until]
        for name in gone or [name for name, _ in known[:-_MOST_KEPT]]:
            self._known.pop(name, None)


@dataclass(slots=True, eq=False)
class _Flight:
    """Somebody is asking the service. *error*: how that ended, if it did not go well."""

    over: bool = False
    error: AtomStripeError | None = None


class Envelopes:
    """
    What both colours do. They differ in what they are given: a service that blocks or one that is awaited, and *pause*, which waits a moment.

    *older*: who has the keys that this service does not.
    """

    def __init__(
        self,
        wrapper: KeyWrapper | AsyncKeyWrapper,
        *,
        fingerprint_key: str | SecretStr | Sequence[str | SecretStr],
        older: KeyProvider | AsyncKeyProvider | None,
        kept: DataKeys,
        clock: Callable[[], float],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        self._wrapper = wrapper
        self._older = older
        self._kept = kept
        self._clock = clock
        self._pause = pause
        self._tried = False
        self._flights: dict[tuple[int, str, bytes], _Flight] = {}
        own = [lookup_key(key) for key in parse_keys(fingerprint_key, "fingerprint_key").values() if key.id != FERNET]
        self.lookup_keys: Sequence[bytes] = (*own, *(older.lookup_keys() if older is not None else ()))
        self.key_id()

    def key_id(self) -> str:
        """Return the name of the master key."""
        key_id = self._wrapper.key_id
        if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id) or key_id == FERNET:
            msg = (
                "the key_id of a key wrapper is a short name of your own, up to 64 letters, digits and ._-, such as 'kms-tokens-1'"
            )
            raise ConfigurationError(msg)
        return key_id

    async def current(self) -> DataKey:
        """Return the data key to encrypt with; every so often a new one."""
        key_id = self.key_id()
        return await self._once((key_id, b""), lambda: self._kept.current(key_id, self._clock()), lambda: self._new(key_id))

    async def get(self, key_id: str, wrapped: bytes) -> DataKey:
        """Return the data key that *wrapped* holds."""
        if wrapped and key_id == self.key_id():
            known = lambda: self._kept.get(key_id, wrapped, self._clock())  # noqa: E731
            return await self._once((key_id, wrapped), known, lambda: self._unwrapped(key_id, wrapped))
        if self._older is None:
            unknown_key(key_id, wrapped)
        key: DataKey = await _answer(self._older.get(key_id, wrapped))
        return key

    async def _once(
        self, name: tuple[str, bytes], known: Callable[[], DataKey | None], ask: Callable[[], Awaitable[DataKey]]
    ) -> DataKey:
        """Return what *known* returns. As long as that is nothing, one caller at a time asks the service, and the others wait for it."""
        # Named after the process too: whoever was asking when a fork was made is not in the child.
        name_here = (os.getpid(), *name)
        while (key := known()) is None:
            mine = _Flight()
            flight = self._flights.setdefault(name_here, mine)
            if flight is not mine:
                while not flight.over:
                    await self._pause()
                if flight.error is not None:
                    # Not one more question for each who waits: during an outage, each would take as long as the first.
                    raise copy(flight.error) from flight.error
                continue
            try:
                # It may have come between the look and the claim.
                return known() or await ask()
            except AtomStripeError as error:
                mine.error = error
                raise
            finally:
                del self._flights[name_here]
                mine.over = True
        return key

    async def _new(self, key_id: str) -> DataKey:
        secret = secrets.token_bytes(KEY_BYTES)
        wrapped = await self._asked("wrap", secret)
        if not 0 < len(wrapped) <= _LONGEST_WRAPPED or secret in wrapped:
            msg = f"wrap() of the key wrapper must return the key encrypted, in at most {_LONGEST_WRAPPED} bytes"
            raise ConfigurationError(msg)
        if not self._tried and not hmac.compare_digest(await self._asked("unwrap", wrapped), secret):
            msg = "unwrap() of the key wrapper does not return what wrap() was given"
            raise ConfigurationError(msg)
        self._tried = True
        key = DataKey(key_id, secret, wrapped)
        self._kept.use(key, self._clock())
        return key

    async def _unwrapped(self, key_id: str, wrapped: bytes) -> DataKey:
        secret = await self._asked("unwrap", wrapped)
        if len(secret) != KEY_BYTES:
            msg = f"the key service unwrapped something that is not a key of {KEY_BYTES} bytes"
            raise UnknownKeyError(msg, key_id=key_id)
        key = DataKey(key_id, secret, wrapped)
        self._kept.keep(key, self._clock())
        return key

    async def _asked(self, what: str, data: bytes) -> bytes:
        try:
            answer = await _answer(getattr(self._wrapper, what)(data))
        except AtomStripeError:
            raise
        except Exception as error:
            msg = f"the key service could not {what} a key"
            raise StoreError(msg) from error
        if not isinstance(answer, (bytes, bytearray)):
            msg = f"{what}() of the key wrapper returned {type(answer).__name__}, not bytes; for an async client there is AsyncEnvelopeKeys"
            raise ConfigurationError(msg)
        return bytes(answer)


async def _answer(value: Any) -> Any:
    return await value if isawaitable(value) else value


async def blocking_pause() -> None:
    """Block the thread for a moment: async in shape only."""
    time.sleep(_PAUSE)  # noqa: ASYNC251 - this is for sync programs


async def native_pause() -> None:
    """Let other tasks run for a moment, on asyncio and on trio."""
    import anyio

    await anyio.sleep(_PAUSE)


def finish(flow: Coroutine[Any, Any, T]) -> T:
    """Finish *flow* in one step and return what it returns."""
    try:
        flow.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    flow.close()
    msg = "an async key wrapper or provider was passed to EnvelopeKeys; use AsyncEnvelopeKeys"
    raise ConfigurationError(msg)
