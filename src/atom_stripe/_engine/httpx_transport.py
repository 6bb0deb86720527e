"""Transports over httpx: the default ones, and the ones that take a client of the user's."""

from __future__ import annotations

import ssl
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import anyio
import httpx

from atom_stripe._engine.http import CLOSED, UNTRUSTED, Body, current_loop
from atom_stripe._wire.messages import Reply
from atom_stripe.errors import ClientClosedError, ConnectionFailedError, InvalidResponseError, TimeoutExceededError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from atom_stripe._wire.messages import Request
    from atom_stripe.config import StripeConfig

# Seconds for which an unused connection stays open.
_IDLE = 30.0
# The request never left: sending it again cannot do anything twice.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@contextmanager
def _translated() -> Generator[None]:
    """Turn httpx's errors into ours. None of their text is kept: it can hold URLs and header values."""
    try:
        yield
    except httpx.TimeoutException as error:
        msg = f"Stripe did not answer in time ({type(error).__name__})"
        raise TimeoutExceededError(msg, outcome_unknown=not isinstance(error, _NOT_SENT)) from None
    except httpx.TransportError as error:
        if certificate_refused(error):
            raise ConnectionFailedError(UNTRUSTED, retryable=False) from None
        msg = f"the connection to Stripe failed ({type(error).__name__})"
        raise ConnectionFailedError(msg, outcome_unknown=not isinstance(error, _NOT_SENT)) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        msg = f"the answer cannot be read ({type(error).__name__})"
        raise InvalidResponseError(msg, outcome_unknown=True) from None


def certificate_refused(error: BaseException | None) -> bool:
    """Return whether TLS is the reason of *error*; trying again will not change a certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


# A proxy must not see what goes to this machine itself: plain HTTP, with the key in it.
_DIRECT: dict[str, None] = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}


def _timeouts(timeout: float, config: StripeConfig) -> httpx.Timeout:
    return httpx.Timeout(timeout, connect=min(timeout, config.connect_timeout))


def _limits(config: StripeConfig) -> httpx.Limits:
    # As many connections stay open as may be: httpx's own default closes all but 20 after every burst.
    return httpx.Limits(
        max_connections=config.max_connections, max_keepalive_connections=config.max_connections, keepalive_expiry=_IDLE
    )


def _reply(response: httpx.Response, body: Body) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body.joined())


class BlockingHttpx:
    """For sync clients; threads share it. A client that the user gave stays open: it is the user's."""

    def __init__(self, config: StripeConfig, client: httpx.Client | None = None) -> None:
        self._config = config
        self._given = client
        self._client = client or httpx.Client(limits=_limits(config), follow_redirects=False, mounts=_DIRECT)
        self._closed = False

    async def send(self, request: Request, timeout: float) -> Reply:
        """Send *request* and block until its answer is here."""
        if self._closed:
            raise ClientClosedError(CLOSED)
        client = self._client
        body = Body(self._config.max_response_bytes, timeout)
        with (
            _translated(),
            client.stream(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=request.body,
                timeout=_timeouts(timeout, self._config),
                follow_redirects=False,
            ) as response,
        ):
            for chunk in response.iter_bytes():
                body.add(chunk)
            return _reply(response, body)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._given is None:
            self._client.close()


class NativeHttpx:
    """For async clients. One pool in each event loop, closed with its loop if not before."""

    def __init__(self, config: StripeConfig, client: httpx.AsyncClient | None = None) -> None:
        self._config = config
        self._given = client
        self._pools: WeakKeyDictionary[object, _LoopPool] = WeakKeyDictionary()
        self._closed = False

    async def send(self, request: Request, timeout: float) -> Reply:
        """Send *request* and wait for its answer."""
        if self._closed:
            raise ClientClosedError(CLOSED)
        with _translated():
            if self._given is not None:
                return await self._exchange(self._given, request, timeout)
            pool = await self._pool()
            async with pool.client(timeout) as client:
                return await self._exchange(client, request, timeout)

    async def _exchange(self, client: httpx.AsyncClient, request: Request, timeout: float) -> Reply:
        body = Body(self._config.max_response_bytes, timeout)
        async with client.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.body,
            timeout=_timeouts(timeout, self._config),
            follow_redirects=False,
        ) as response:
            async for chunk in response.aiter_bytes():
                body.add(chunk)
            return _reply(response, body)

    async def _pool(self) -> _LoopPool:
        loop = current_loop()
        pool = self._pools.get(loop)
        if pool is None:
            # No await between the look and the entry: two tasks of one loop cannot both make one.
            pool = self._pools[loop] = _LoopPool(self._config)
            await pool.begin()
        return pool

    async def close(self) -> None:
        """Close this loop's pool. Those of other loops close with their loops."""
        self._closed = True
        if pool := self._pools.pop(current_loop(), None):
            await pool.end()


class _LoopPool:
    """
    One loop's connections: clients of one connection each, the one used last on top.

    httpx's own pool looks at all its connections, and asks the system about each idle one, at both ends of every request: with 32 at a time
    that is most of a call's CPU. A pool of one has nothing to look at.

    The pool closes when its event loop does. A loop that shuts down closes its unfinished async generators (``asyncio.run`` and trio both do),
    and one that holds the pool open is the only way to hear of that. Without it a second ``asyncio.run`` would find the first one's
    connections broken and leaking.
    """

    def __init__(self, config: StripeConfig) -> None:
        self._tls = httpx.create_ssl_context()
        self._places = anyio.Semaphore(config.max_connections)
        self._idle: deque[tuple[float, httpx.AsyncClient]] = deque()
        self._clients: set[httpx.AsyncClient] = set()
        self._holder = self._hold()

    @asynccontextmanager
    async def client(self, timeout: float) -> AsyncGenerator[httpx.AsyncClient]:
        """Lend a client that nobody else uses meanwhile; wait at most *timeout* seconds for one of ``max_connections``."""
        await self._place(timeout)
        try:
            while self._idle and self._idle[0][0] < time.monotonic() - _IDLE:
                await self._drop(self._idle.popleft()[1])
            client = self._idle.pop()[1] if self._idle else self._new()
            try:
                yield client
            finally:
                # Also after an error or a cancellation: httpx has closed the connection then, and will open another.
                self._idle.append((time.monotonic(), client))
        finally:
            self._places.release()

    async def _place(self, timeout: float) -> None:
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(timeout):
                await self._places.acquire()
                return
            msg = "no connection became free in time"
            raise httpx.PoolTimeout(msg) from None

    def _new(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE)
        client = httpx.AsyncClient(verify=self._tls, limits=limits, follow_redirects=False, mounts=_DIRECT)
        self._clients.add(client)
        return client

    async def _drop(self, client: httpx.AsyncClient) -> None:
        self._clients.discard(client)
        await client.aclose()

    async def _hold(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            for client in list(self._clients):
                await self._drop(client)

    async def begin(self) -> None:
        """Begin to listen for the loop's end."""
        await anext(self._holder)

    async def end(self) -> None:
        """Close all connections of this loop."""
        await self._holder.aclose()
