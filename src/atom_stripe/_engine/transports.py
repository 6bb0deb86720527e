"""Which transport a client gets."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from atom_stripe._engine.http import CLOSED, in_trio
from atom_stripe._engine.process import PerProcess
from atom_stripe.errors import ClientClosedError, ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.ports import Transport
    from atom_stripe._wire.messages import Reply, Request
    from atom_stripe.config import StripeConfig

_LOG = logging.getLogger("atom_stripe.client")
# pyreqwest's runtime lives on in the parent of a fork only, and it says so when a client is made in the child.
_FORKED = "atom-stripe[fast] cannot be used in a forked process whose parent used it; using httpx here"


def blocking(config: StripeConfig, client: Any = None) -> Transport:
    """Return the transport of a sync client; *client* is an ``httpx.Client`` of the user's."""
    if client is not None:
        return _given(
            config,
            client,
            "Client",
            "StripeClient(http_client=…) takes an httpx.Client; AsyncStripeClient takes an httpx.AsyncClient",
        )
    return _Lazy(lambda: _open_blocking(config))


def native(config: StripeConfig, client: Any = None) -> Transport:
    """Return the transport of an async client; *client* is an ``httpx.AsyncClient`` of the user's."""
    if client is not None:
        return _given(
            config,
            client,
            "AsyncClient",
            "AsyncStripeClient(http_client=…) takes an httpx.AsyncClient; StripeClient takes an httpx.Client",
        )
    return _Native(config)


def _given(config: StripeConfig, client: Any, kind: str, advice: str) -> Transport:
    import httpx

    from atom_stripe._engine.httpx_transport import BlockingHttpx, NativeHttpx

    if not isinstance(client, getattr(httpx, kind)):
        raise ConfigurationError(advice)
    return NativeHttpx(config, client) if kind == "AsyncClient" else BlockingHttpx(config, client)


def _fast(config: StripeConfig) -> bool:
    """Return whether to use the fast transport."""
    if config.transport == "httpx":
        return False
    if importlib.util.find_spec("pyreqwest") is not None:
        _load()
        return True
    if config.transport == "fast":
        msg = "pyreqwest is not installed: pip install 'atom-stripe[fast]'"
        raise MissingExtraError(msg, name="pyreqwest")
    return False


# Seconds. What pyreqwest's own threads still have to hand back takes less; after Python's end it crashes the process.
_LAST_MOMENT = 0.05


def _load() -> None:
    """Load pyreqwest in a thread that stays: once the thread that loaded it has ended, its allocator crashes the process."""
    if "pyreqwest.client" in sys.modules:
        return
    atexit.register(time.sleep, _LAST_MOMENT)
    if threading.current_thread() is threading.main_thread():
        importlib.import_module("pyreqwest.client")
        return
    loaded = threading.Event()

    def stay() -> None:
        try:
            importlib.import_module("pyreqwest.client")
        finally:
            loaded.set()
        threading.Event().wait()

    threading.Thread(target=stay, name="atom-stripe-fast", daemon=True).start()
    loaded.wait()


def _open_blocking(config: StripeConfig) -> Transport:
    if _fast(config):
        from atom_stripe._engine.fast_transport import BlockingFast

        try:
            return BlockingFast(config)
        except RuntimeError:
            _LOG.warning(_FORKED)
    from atom_stripe._engine.httpx_transport import BlockingHttpx

    return BlockingHttpx(config)


class _Lazy:
    """Opens the transport at the first request, and again in a forked child."""

    def __init__(self, open_transport: Callable[[], Transport]) -> None:
        self._opened = PerProcess(open_transport)
        self._closed = False

    async def send(self, request: Request, timeout: float) -> Reply:
        if self._closed:
            raise ClientClosedError(CLOSED)
        return await self._opened.get().send(request, timeout)

    async def close(self) -> None:
        self._closed = True
        if opened := self._opened.pop():
            await opened.close()


class _Native:
    """The fast transport under asyncio, httpx's under trio, which pyreqwest does not know."""

    def __init__(self, config: StripeConfig) -> None:
        self._fast = _Lazy(lambda: _open_native(config))
        self._trio = _Lazy(lambda: _open_native(config.with_settings(transport="httpx")))

    async def send(self, request: Request, timeout: float) -> Reply:
        return await (self._trio if in_trio() else self._fast).send(request, timeout)

    async def close(self) -> None:
        await self._fast.close()
        await self._trio.close()


def _open_native(config: StripeConfig) -> Transport:
    if _fast(config):
        from atom_stripe._engine.fast_transport import NativeFast

        try:
            return NativeFast(config)
        except RuntimeError:
            _LOG.warning(_FORKED)
    from atom_stripe._engine.httpx_transport import NativeHttpx

    return NativeHttpx(config)
