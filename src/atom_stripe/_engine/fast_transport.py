"""Transports over pyreqwest, an HTTP client in Rust: several times the speed of httpx. Installed with ``atom-stripe[fast]``."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder, SyncClientBuilder

from atom_stripe._engine.http import CLOSED, UNTRUSTED, Body
from atom_stripe._wire.messages import Reply
from atom_stripe.errors import ClientClosedError, ConnectionFailedError, InvalidResponseError, TimeoutExceededError

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe._wire.messages import Request
    from atom_stripe.config import StripeConfig

Builder = TypeVar("Builder", ClientBuilder, SyncClientBuilder)


def _built(builder: Builder, config: StripeConfig) -> Builder:
    if config.api_base.startswith("http://"):
        # A proxy must not see what goes to this machine itself: plain HTTP, with the key in it.
        builder = builder.no_proxy()
    return (
        builder.max_connections(config.max_connections)
        .connect_timeout(timedelta(seconds=config.connect_timeout))
        .follow_redirects(False)  # noqa: FBT003 - pyreqwest's signature
        .referer(False)  # noqa: FBT003
    )


@contextmanager
def _translated() -> Generator[None]:
    """Turn pyreqwest's errors into ours. None of their text is kept: it can hold URLs."""
    try:
        yield
    except exceptions.ClientClosedError:
        raise ClientClosedError(CLOSED) from None
    except exceptions.PoolTimeoutError:
        msg = "no connection became free in time (max_connections)"
        raise TimeoutExceededError(msg) from None
    except exceptions.RequestTimeoutError as error:
        msg = "Stripe did not answer in time"
        raise TimeoutExceededError(msg, outcome_unknown=_sent(error)) from None
    except (exceptions.TransportError, exceptions.BodyDecodeError) as error:
        if any("certificate" in cause for cause in _causes(error)):
            raise ConnectionFailedError(UNTRUSTED, retryable=False) from None
        msg = "the connection to Stripe failed"
        raise ConnectionFailedError(msg, outcome_unknown=_sent(error)) from None
    except exceptions.PyreqwestError as error:
        msg = f"the answer cannot be read ({type(error).__name__})"
        raise InvalidResponseError(msg, outcome_unknown=True) from None


def _causes(error: exceptions.PyreqwestError) -> list[str]:
    causes: Any = (getattr(error, "details", None) or {}).get("causes") or []
    return [str(cause.get("message", "")) for cause in causes]


def _sent(error: exceptions.PyreqwestError) -> bool:
    # The class does not tell: a connection that broke after the request was written is a ConnectError too. The causes do.
    return "client error (Connect)" not in _causes(error)


class BlockingFast:
    """For sync clients. Threads share it."""

    def __init__(self, config: StripeConfig) -> None:
        self._limit = config.max_response_bytes
        self._client = _built(SyncClientBuilder(), config).build()

    async def send(self, request: Request, timeout: float) -> Reply:
        """Send *request* and block until its answer is here."""
        with _translated():
            call = (
                self._client.request(request.method, request.url).headers(dict(request.headers)).timeout(timedelta(seconds=timeout))
            )
            if request.body is not None:
                call = call.body_bytes(request.body)
            with call.build_streamed() as response:
                body = Body(self._limit, timeout)
                reader = response.body_reader
                while (chunk := reader.read_chunk()) is not None:
                    body.add(bytes(chunk))
                return Reply(response.status, dict(response.headers.items()), body.joined())

    async def close(self) -> None:
        """Close all connections."""
        self._client.close()


class NativeFast:
    """For async clients under asyncio. Its connections belong to no event loop, so all of them share it."""

    def __init__(self, config: StripeConfig) -> None:
        self._limit = config.max_response_bytes
        self._client = _built(ClientBuilder(), config).build()

    async def send(self, request: Request, timeout: float) -> Reply:
        """Send *request* and wait for its answer."""
        with _translated():
            call = (
                self._client.request(request.method, request.url).headers(dict(request.headers)).timeout(timedelta(seconds=timeout))
            )
            if request.body is not None:
                call = call.body_bytes(request.body)
            async with call.build_streamed() as response:
                body = Body(self._limit, timeout)
                reader = response.body_reader
                while (chunk := await reader.read_chunk()) is not None:
                    body.add(bytes(chunk))
                return Reply(response.status, dict(response.headers.items()), body.joined())

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
