"""Keys that a key service guards, in both colours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn, Protocol, Self

from atom_stripe.keys.data_keys import DataKeys, Envelopes, blocking_pause, finish, native_pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic import SecretStr

    from atom_stripe.protocols import AsyncKeyProvider, DataKey, KeyProvider


class KeyWrapper(Protocol):
    """
    A key service (KMS), as ``EnvelopeKeys`` needs it: it encrypts and decrypts short pieces with a master key that never leaves it.

    Promises: what ``wrap`` returned is decrypted by ``unwrap`` for as long as it is stored anywhere, and nothing else is: the service notices
    changed bytes. Give its client a timeout. For a key that is gone for good, raise ``UnknownKeyError``; what else it raises counts as an outage.
    """

    @property
    def key_id(self) -> str:
        """The master key, by a short name of your own: up to 64 letters, digits and ``._-``. It is stored with each token."""
        ...

    def wrap(self, key: bytes, /) -> bytes:
        """Return *key* encrypted by the service, at most 4096 bytes."""
        ...

    def unwrap(self, wrapped: bytes, /) -> bytes:
        """Return the key that ``wrap`` was given."""
        ...


class AsyncKeyWrapper(Protocol):
    """As ``KeyWrapper``, for a key service with an async client."""

    @property
    def key_id(self) -> str:
        """The master key, by a short name of your own: up to 64 letters, digits and ``._-``. It is stored with each token."""
        ...

    def wrap(self, key: bytes, /) -> Awaitable[bytes]:
        """Return *key* encrypted by the service, at most 4096 bytes."""
        ...

    def unwrap(self, wrapped: bytes, /) -> Awaitable[bytes]:
        """Return the key that ``wrap`` was given."""
        ...


class _Held:
    """Holds secrets: there is one of it, in the process that made it."""

    __slots__ = ("_envelopes",)
    _envelopes: Envelopes

    def lookup_keys(self) -> Sequence[bytes]:
        """Return the secrets that fingerprints are made with, the current one first. They do not decrypt anything."""
        return self._envelopes.lookup_keys

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._envelopes.key_id()})"

    def __reduce__(self) -> NoReturn:
        msg = f"{type(self).__name__} hold secrets, so they are not pickled: make them in the process that needs them"
        raise TypeError(msg)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class EnvelopeKeys(_Held):
    """
    Keys that a key service (KMS) guards: each token is encrypted with a data key, which is stored beside it, wrapped by the service.

    *wrapper*: the service. *fingerprint_key*: what tokens are looked up by, one or several ``id:key`` as in a ``Keyring``, the current first; the
    service has no part in it. *lifetime*: seconds after which a new data key is made; *uses*: or after it was handed out so many times.
    *older*: where keys of before come from: a ``Keyring``, or the ``EnvelopeKeys`` of an earlier master key.

    A key that was unwrapped is kept in memory for 300 seconds, 1024 of them at most; many threads that need the same one ask the service once.
    The first data key is unwrapped again before it is used, so that no token is encrypted that could not be read.

    Raises:
        ConfigurationError: A setting is malformed, or what the service returns is.
        StoreError: ``current()`` and ``get()``: the service failed. Retryable; the cause is chained.
        UnknownKeyError: ``get()``: neither *wrapper* nor *older* has the key.
    """

    __slots__ = ()

    def __init__(
        self,
        wrapper: KeyWrapper,
        *,
        fingerprint_key: str | SecretStr | Sequence[str | SecretStr],
        lifetime: float = 300.0,
        uses: int = 10_000,
        older: KeyProvider | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._envelopes = Envelopes(
            wrapper, fingerprint_key=fingerprint_key, older=older, kept=DataKeys(lifetime, uses), clock=clock, pause=blocking_pause
        )

    def current(self) -> DataKey:
        """Return the key to encrypt with."""
        return finish(self._envelopes.current())

    def get(self, key_id: str, wrapped: bytes, /) -> DataKey:
        """Return the key that something was encrypted with. Raises ``UnknownKeyError`` if it cannot be had."""
        return finish(self._envelopes.get(key_id, wrapped))


class AsyncEnvelopeKeys(_Held):
    """As ``EnvelopeKeys``, for a key service with an async client, on asyncio and trio. *older* may be of either colour."""

    __slots__ = ()

    def __init__(
        self,
        wrapper: AsyncKeyWrapper,
        *,
        fingerprint_key: str | SecretStr | Sequence[str | SecretStr],
        lifetime: float = 300.0,
        uses: int = 10_000,
        older: AsyncKeyProvider | KeyProvider | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._envelopes = Envelopes(
            wrapper, fingerprint_key=fingerprint_key, older=older, kept=DataKeys(lifetime, uses), clock=clock, pause=native_pause
        )

    async def current(self) -> DataKey:
        """Return the key to encrypt with."""
        return await self._envelopes.current()

    async def get(self, key_id: str, wrapped: bytes, /) -> DataKey:
        """Return the key that something was encrypted with. Raises ``UnknownKeyError`` if it cannot be had."""
        return await self._envelopes.get(key_id, wrapped)
