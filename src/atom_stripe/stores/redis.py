"""
Token stores on Redis, for ``pip install 'atom-stripe[redis]'``.

All rows of one store lie on one node of a cluster: the keys share a hash tag, because a script may touch the keys of one node only.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from atom_stripe._engine.drive import run
from atom_stripe.errors import ConfigurationError
from atom_stripe.stores._redis.scripts import BlockingScripts, NativeScripts
from atom_stripe.stores._redis.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis
    import redis.asyncio

    from atom_stripe.protocols import Authorization, Reference, TokenQuery, TokenRecord


def _refuse(client: object, *, native: bool, use: str) -> None:
    if inspect.iscoroutinefunction(getattr(client, "execute_command", None)) is native:
        msg = f"this store needs a {use}"
        raise ConfigurationError(msg)


class RedisTokenStore:
    """
    A ``TokenStore`` on Redis 5 or later, for any number of processes and threads.

    *client*: made by you, with timeouts (``socket_timeout``) and any encoding; it is not closed here. *prefix*: what all keys begin with.
    Raises ``ConfigurationError`` for a client of the other colour.

    What ``save`` wrote survives a crash of Redis only if Redis is set so: ``appendonly yes``, ``appendfsync always`` and
    ``maxmemory-policy noeviction``. With ``appendfsync everysec``, or when a replica takes over that had not received the last writes, some
    may be lost; a refresh token among them is gone, and its user has to connect again. This cannot be seen from here, and is not checked.

    Every method raises ``StoreError`` when Redis cannot be reached or refuses. After one from ``save``, the row may have been written.
    """

    def __init__(self, client: redis.Redis | redis.RedisCluster, *, prefix: str = "atom_stripe:") -> None:
        _refuse(client, native=True, use="redis.Redis, or AsyncRedisTokenStore for an async client")
        self._tokens = Tokens(BlockingScripts(client), prefix)
        self._prefix = prefix

    def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*, ``None`` if there is none. One round trip."""
        return run(self._tokens.load(reference))

    def save(self, record: TokenRecord, /) -> bool:
        """Write *record* as ``TokenStore.save`` says. Returns whether it was written."""
        return run(self._tokens.save(record))

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for."""
        return run(self._tokens.find(query))

    def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*, ``None`` if there is none. Redis drops it an hour after it expired."""
        return run(self._tokens.load_authorization(digest))

    def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization* as ``TokenStore.save_authorization`` says. Returns whether it was written."""
        return run(self._tokens.save_authorization(authorization))

    def __repr__(self) -> str:
        """Show the prefix: the client's own repr may hold a password."""
        return f"RedisTokenStore(prefix={self._prefix!r})"


class AsyncRedisTokenStore:
    """
    An ``AsyncTokenStore`` on Redis: as ``RedisTokenStore``, with the same rows and the same demands on Redis.

    *client*: a ``redis.asyncio.Redis``, which runs under asyncio only.
    """

    def __init__(self, client: redis.asyncio.Redis | redis.asyncio.RedisCluster, *, prefix: str = "atom_stripe:") -> None:
        _refuse(client, native=False, use="redis.asyncio.Redis, or RedisTokenStore for a sync client")
        self._tokens = Tokens(NativeScripts(client), prefix)
        self._prefix = prefix

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*, ``None`` if there is none. One round trip."""
        return await self._tokens.load(reference)

    async def save(self, record: TokenRecord, /) -> bool:
        """Write *record* as ``TokenStore.save`` says. Returns whether it was written."""
        return await self._tokens.save(record)

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for."""
        return await self._tokens.find(query)

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*, ``None`` if there is none. Redis drops it an hour after it expired."""
        return await self._tokens.load_authorization(digest)

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization* as ``TokenStore.save_authorization`` says. Returns whether it was written."""
        return await self._tokens.save_authorization(authorization)

    def __repr__(self) -> str:
        """Show the prefix: the client's own repr may hold a password."""
        return f"AsyncRedisTokenStore(prefix={self._prefix!r})"
