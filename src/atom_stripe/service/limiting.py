"""How many requests a caller may make. The counting is that of ``limits``."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError
from atom_stripe.service.exchange import settled
from atom_stripe.service.problems import Problem

if TYPE_CHECKING:
    from atom_stripe.service.settings import ServiceConfig

LOG = logging.getLogger(__name__)


class RateLimiter:
    """
    Counts, for callers and for addresses, in one storage. A storage that is away limits nobody: it would keep everybody out.

    *asynchronous*: whether calls of the storage may be awaited.
    """

    def __init__(self, config: ServiceConfig, *, asynchronous: bool, extra: str) -> None:
        with require("limits", extra=extra):
            import limits.errors
            from limits import aio, storage, strategies
        try:
            self._limits = {
                "caller": limits.parse_many(config.caller_limit) if config.caller_limit else [],
                "address": limits.parse_many(config.address_limit) if config.address_limit else [],
            }
        except ValueError as error:
            msg = 'a limit is written like "600/minute", and several with ";" between them'
            raise ConfigurationError(msg) from error
        # redis-py's own word for a socket is another than that of limits.
        place = (
            config.limit_storage.replace("unix://", "redis+unix://", 1)
            if config.limit_storage.startswith("unix:")
            else config.limit_storage
        )
        try:
            if place.startswith("memory:"):
                self.storage: Any = _memory()
            elif asynchronous:
                self.storage = storage.storage_from_string(f"async+{place}", implementation="redispy", **_BOUNDS)
            else:
                self.storage = storage.storage_from_string(place, **_BOUNDS)
        except limits.errors.ConfigurationError as error:
            # Its words hold the URL, and that can hold a password.
            msg = f"limits cannot be counted there ({type(error).__name__}): limit_storage is memory:// or a URL of Redis"
            raise ConfigurationError(msg) from None
        # Memory never waits, so both colours can use it as it is.
        waits = asynchronous and not place.startswith("memory:")
        self._strategy: Any = (aio.strategies if waits else strategies).SlidingWindowCounterRateLimiter(self.storage)
        self._complained = 0.0

    async def close(self) -> None:
        """Close the connections to a storage that has any."""
        client = getattr(getattr(self.storage, "bridge", self.storage), "storage", None)
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None:
            await settled(close())

    async def admit(self, kind: str, who: str) -> None:
        """
        Count one request of *who*.

        Raises:
            Problem: 429, with when to come back.
        """
        for limit in self._limits[kind]:
            try:
                if await settled(self._strategy.hit(limit, kind, _name(who))):
                    continue
                window = await settled(self._strategy.get_window_stats(limit, kind, _name(who)))
            except Exception:  # noqa: BLE001 - whatever the driver of a storage raises
                self._complain()
                return
            wait = max(1.0, window.reset_time - time.time())
            detail = f"More than {limit.amount} requests in {limit.multiples} {limit.GRANULARITY.name}. Come back later."
            raise Problem(429, "too_many_requests", detail, retry_after=min(wait, limit.get_expiry()))

    def _complain(self) -> None:
        now = time.monotonic()
        if now - self._complained > _QUIET:
            self._complained = now
            LOG.warning("requests are not limited: the storage of the limits does not answer", exc_info=True)  # noqa: LOG014 - called in one


_QUIET = 60.0
# A storage that hangs must not hang every route with it. Seconds.
_BOUNDS: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}


def _memory() -> Any:
    """Return storage in memory that looks for what has expired once a minute: left alone, it does so all the time, in a new thread each time."""
    from limits.storage import MemoryStorage

    class Storage(MemoryStorage):
        STORAGE_SCHEME = ["atom-stripe"]  # noqa: RUF012 - declared there; a name of its own, or it would stand for memory:// from now on

        @property
        def timer(self) -> Any:
            return self._timer

        @timer.setter
        def timer(self, timer: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
            self._timer = _Pause(timer)

    return Storage()


class _Pause:
    """A timer that counts as running for a minute after it has run, so that it is not started again before."""

    def __init__(self, timer: Any) -> None:
        self.start = timer.start
        self._until = time.monotonic() + _QUIET

    def is_alive(self) -> bool:
        return time.monotonic() < self._until


def _name(who: str) -> str:
    # Hashed: an id of any letters is one key, and none stands in a shared Redis.
    return hashlib.blake2b(who.encode(errors="surrogatepass"), digest_size=16).hexdigest()
